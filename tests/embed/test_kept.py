"""What is kept of embeddings: rows by content, runs of a probe, and states of one that was interrupted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray

from sanitizer.embed import kept
from sanitizer.embed.kept import (
    keep_checkpoint,
    keep_probe,
    keep_space,
    kept_checkpoint,
    kept_probe,
    kept_rows,
    kept_space,
)
from sanitizer.embed.probe import Embedding
from sanitizer.nets import Checkpoint
from sanitizer.store import Shelf, Store

WIDTH = 5
Part = tuple[NDArray[np.int64], NDArray[np.float16]]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A fresh one."""
    found = Store.open(str(tmp_path / "store"))
    assert found is not None
    return found


def digests(*numbers: int) -> list[str]:
    """Contents by number."""
    return [hashlib.sha256(str(number).encode()).hexdigest() for number in numbers]


def values(wanted: list[str], width: int = WIDTH) -> NDArray[np.float16]:
    """What a network would make of these contents."""
    rows = [np.frombuffer(bytes.fromhex(digest), np.uint8)[:width] for digest in wanted]
    return np.array(rows, np.float16).reshape(len(wanted), width) / np.float16(8)


class Network:
    """Computes rows a few at a time, in another order than asked, and remembers which."""

    def __init__(self, wanted: list[str], batch: int = 3, breaks_after: int | None = None) -> None:
        self.wanted = wanted
        self.batch = batch
        self.breaks_after = breaks_after
        self.seen: list[str] = []

    def __call__(self, rows: NDArray[np.int64]) -> Iterator[Part]:
        """The rows that are asked for."""
        for start in range(0, len(rows), self.batch):
            if self.breaks_after is not None and start >= self.breaks_after * self.batch:
                raise KeyboardInterrupt
            part = rows[::-1][start : start + self.batch]
            chosen = [self.wanted[row] for row in part]
            self.seen += chosen
            yield part, values(chosen)


def kept_of(store: Store | None, wanted: list[str], network: Network | None = None, width: int = WIDTH) -> Network:
    """Ask for rows; they are what they should be."""
    network = network or Network(wanted)
    shelf = store.shelf("rows", a=1) if store else None
    np.testing.assert_array_equal(kept_rows(store, shelf, wanted, width, network), values(wanted, width))
    return network


def test_everything_is_computed_once(store: Store) -> None:
    """All of it the first time, nothing the second, in whatever order it is asked for."""
    wanted = digests(*range(20))
    assert sorted(kept_of(store, wanted).seen) == sorted(wanted)
    assert kept_of(store, wanted).seen == []
    assert kept_of(store, wanted[::-1]).seen == []
    assert kept_of(store, wanted[3:9]).seen == []


def test_nothing_new_opens_nothing(store: Store) -> None:
    """Where nothing is missing, nobody is asked to compute nothing."""
    wanted = digests(*range(5))
    kept_of(store, wanted)

    def never(rows: NDArray[np.int64]) -> Iterator[Part]:
        pytest.fail("it was asked")

    shelf = store.shelf("rows", a=1)
    np.testing.assert_array_equal(kept_rows(store, shelf, wanted, WIDTH, never), values(wanted))
    assert kept_rows(store, shelf, [], WIDTH, never).shape == (0, WIDTH)


def test_exactly_what_is_new_is_computed(store: Store) -> None:
    """One sample in a hundred changed."""
    wanted = digests(*range(300))
    kept_of(store, wanted, Network(wanted, batch=64))
    changed = [*wanted]
    changed[7], changed[150], changed[299] = digests(1007, 1150, 1299)
    assert sorted(kept_of(store, changed).seen) == sorted(digests(1007, 1150, 1299))
    assert kept_of(store, wanted).seen == []


@pytest.mark.parametrize("with_store", [True, False])
def test_copies_are_computed_once(store: Store, with_store: bool) -> None:
    """Equal contents, equal rows, also where only some of them are new."""
    wanted = digests(1, 2, 1, 3, 1, 2)
    assert sorted(kept_of(store if with_store else None, wanted).seen) == sorted(digests(1, 2, 3))
    more = digests(4, 1, 4)
    assert kept_of(store, more).seen.count(digests(4)[0]) == 1


@pytest.mark.parametrize("batch", [1, 3, 7, 100])
def test_an_interrupted_run_goes_on_where_it_stopped(store: Store, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    """Finished shards are kept; only the rest is computed."""
    monkeypatch.setattr(kept, "SHARD_ROWS", 4)
    wanted = digests(*range(30))
    broken = Network(wanted, batch, breaks_after=12 // batch)
    if batch < 30:
        with pytest.raises(KeyboardInterrupt):
            kept_of(store, wanted, broken)
    second = kept_of(store, wanted, Network(wanted, batch))
    assert set(second.seen) | set(broken.seen) == set(wanted)
    assert len(second.seen) <= len(wanted) - len(broken.seen) + 3 + batch
    assert len(set(second.seen) & set(broken.seen)) < 4 + batch


def test_rows_of_another_width_are_passed_over(store: Store) -> None:
    """They are some other network's; both can live on."""
    wanted = digests(*range(4))
    shelf = store.shelf("rows", a=1)
    keys = pa.array([bytes.fromhex(digest) for digest in wanted], pa.binary(32))
    wide = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(4 * 7, np.float16)), 7)
    shelf.put(pa.table({"digest": keys, "value": wide}))
    shelf.put(pa.table({"digest": keys}))
    shelf.put(pa.table({"digest": keys, "value": pa.array([0.0] * 4, pa.float32())}))
    assert sorted(kept_of(store, wanted).seen) == sorted(wanted)
    assert kept_of(store, wanted).seen == []


def test_a_broken_shard_is_computed_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """That one, and no other."""
    monkeypatch.setattr(kept, "SHARD_ROWS", 3)
    wanted = digests(*range(9))
    kept_of(store, wanted)
    shards = sorted(store.root.rglob("*.arrow"))
    assert len(shards) == 3
    content = bytearray(shards[1].read_bytes())
    content[len(content) // 2] ^= 1
    shards[1].write_bytes(content)
    assert len(kept_of(store, wanted).seen) == 3
    assert sorted(store.root.rglob("*.arrow")) == shards


def test_with_a_store_rows_can_be_paged_out(store: Store) -> None:
    """A file without a name backs them; they can be written like any array. Without one they are in memory."""
    wanted = digests(*range(4))
    mapped = kept_rows(store, store.shelf("rows", a=1), wanted, WIDTH, Network(wanted))
    plain = kept_rows(None, None, wanted, WIDTH, Network(wanted))
    assert isinstance(mapped, np.memmap)
    assert type(plain) is np.ndarray
    mapped[0] = 0
    assert {path.suffix for path in store.root.rglob("*") if path.is_file()} == {".arrow"}
    np.testing.assert_array_equal(plain, values(wanted))


def test_a_failing_network_leaves_no_file_open(store: Store) -> None:
    """Not the scratch file either, once nobody holds the array."""

    def handles() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    wanted = digests(*range(9))
    kept_of(store, wanted)
    before = handles()
    with pytest.raises(KeyboardInterrupt):
        kept_of(store, digests(*range(50)), Network(digests(*range(50)), breaks_after=2))
    kept_of(store, wanted)
    assert handles() == before


# A probe's runs


def run(n: int = 6) -> Embedding:
    """Made up."""
    rng = np.random.default_rng(0)
    feature, residual, loss = (rng.normal(size=(n, width)) for width in (8, 3, 2))
    model: dict[str, object] = {"kind": "probe"}
    weights = {"head.weight": torch.randn(3, 8), "count": torch.tensor(7)}
    return Embedding(feature.astype(np.float16), residual.astype(np.float32), loss.astype(np.float32), model, weights)


def test_a_run_comes_back_bit_for_bit(store: Store) -> None:
    """Every space with its type, what was said about the network, and its weights."""
    shelf, found = store.shelf("probes", a=1), run()
    assert kept_probe(shelf) is None
    keep_probe(shelf, found, '{"kind": "probe", "n": 1}')
    again = kept_probe(shelf)
    assert again is not None
    spaces, model, weights = again
    assert weights.keys() == found.weights.keys()
    assert all(torch.equal(value, found.weights[name]) for name, value in weights.items())
    assert model == '{"kind": "probe", "n": 1}'
    assert list(spaces) == ["feature", "residual", "loss"]
    for name, space in spaces.items():
        expected = getattr(found, name)
        assert space.dtype == expected.dtype
        np.testing.assert_array_equal(space, expected)


def test_a_broken_run_is_none(store: Store) -> None:
    """It is trained again."""
    shelf = store.shelf("probes", a=1)
    keep_probe(shelf, run(), "{}")
    (path,) = shelf.folder.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    assert kept_probe(shelf) is None


@pytest.mark.parametrize("about", [None, {"model": "{}"}, {"model": "{}", "weights": "no weights"}])
def test_a_whole_table_that_is_no_run_is_none(store: Store, about: dict[str, str] | None) -> None:
    """Somebody else's, or one without the weights that a run is kept with: it is trained again."""
    shelf = store.shelf("probes", a=1)
    shelf.put(pa.table({"feature": [[0.0]]}).replace_schema_metadata(about))
    assert kept_probe(shelf) is None


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_a_space_comes_back_bit_for_bit(store: Store, kind: type) -> None:
    """With its type; a broken one is none."""
    shelf, rows = store.shelf("views", a=1), np.random.default_rng(0).normal(size=(6, 3)).astype(kind)
    assert kept_space(shelf) is None
    keep_space(shelf, rows)
    again = kept_space(shelf)
    assert again is not None
    assert again.dtype == kind
    np.testing.assert_array_equal(again, rows)
    (path,) = shelf.folder.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    assert kept_space(shelf) is None


def state(epochs: int) -> Checkpoint:
    """Tensors of every kind that a run has."""
    tensors = {
        "net.weight": torch.full((4, 3, 3, 3), epochs / 7),
        "net.count": torch.tensor(epochs),
        "rate": torch.tensor([0.1 / epochs], dtype=torch.float64),
        "losses": torch.zeros(5, epochs),
    }
    return Checkpoint(epochs, tensors)


def test_a_checkpoint_comes_back_and_replaces_earlier_ones(store: Store) -> None:
    """Bit for bit; a long run keeps one state, not all of them."""
    shelf: Shelf = store.shelf("checkpoints", a=1)
    assert kept_checkpoint(shelf) is None
    for epochs in (1, 2, 3):
        keep_checkpoint(shelf, state(epochs))
        found = kept_checkpoint(shelf)
        assert found is not None
        assert found.epochs == epochs
        assert found.tensors.keys() == state(epochs).tensors.keys()
        for name, value in state(epochs).tensors.items():
            assert torch.equal(found.tensors[name], value)
            assert found.tensors[name].dtype == value.dtype
    assert len(list(shelf.folder.iterdir())) == 1


def test_of_several_checkpoints_the_latest_counts(store: Store) -> None:
    """A scan that was killed between keeping one and forgetting the other leaves two."""
    shelf = store.shelf("checkpoints", a=1)
    forget: Callable[[Shelf], list[Path]] = Shelf._files
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Shelf, "_files", lambda self: [])
        keep_checkpoint(shelf, state(2))
        keep_checkpoint(shelf, state(1))
    assert len(forget(shelf)) == 2
    found = kept_checkpoint(shelf)
    assert found is not None
    assert found.epochs == 2


def test_a_checkpoint_that_is_none_counts_as_none(store: Store) -> None:
    """The run begins anew; no error of a library comes through."""
    shelf = store.shelf("checkpoints", a=1)
    shelf.put(pa.table({"epochs": [1], "state": pa.array([b"nonsense"], pa.large_binary())}))
    assert kept_checkpoint(shelf) is None
