"""A probe is trained once on a set, goes on where it was interrupted, and begins anew where anything differs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from toy_extraction import CPU, EPOCHS, TRAINING, Watching, assert_same, extracted
from toys import toy_images

from sanitizer import extraction as room
from sanitizer.extraction import Extracted, Extraction
from sanitizer.progress import Advance
from sanitizer.sources.base import open_source
from sanitizer.sources.census import Census, take_census
from sanitizer.store import Store


def test_a_probe_is_trained_once(census: Census, store: Store, plain: Extracted) -> None:
    """The second time its spaces come from the store, as they were, and no state of the run is left."""
    n = len(census.samples)
    first, steps = extracted(census, store)
    assert steps[TRAINING] == n * (EPOCHS + 1)
    second, steps = extracted(census, store)
    assert TRAINING not in steps
    assert_same(first, plain)
    assert_same(second, plain)
    assert list((store.root / "checkpoints").rglob("*.arrow")) == []


@pytest.mark.parametrize("epoch", [0, 1, 2, 3, 4])
def test_an_interrupted_probe_goes_on(census: Census, store: Store, plain: Extracted, epoch: int) -> None:
    """Stopped in the middle of any epoch, or of the pass that follows, it ends like one that was not."""
    n = len(census.samples)
    stopping = Watching({TRAINING: n * epoch + n // 2})
    with pytest.raises(KeyboardInterrupt):
        Extraction(device=CPU, store=store, progress=stopping)(census)
    kept = min(epoch, EPOCHS - 1)
    batches: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Watching, "stage", counting_batches(batches))
        again, _ = extracted(census, store)
    assert_same(again, plain)
    assert sum(batches) == n * (EPOCHS + 1)  # what was spared counts as done
    assert len(batches) == (1 if kept else 0) + (EPOCHS - kept) * -(-n // 16) + 1
    assert list((store.root / "checkpoints").rglob("*.arrow")) == []
    assert TRAINING not in extracted(census, store)[1]


def counting_batches(batches: list[int]) -> Callable[..., Any]:
    """Notes every step of the training."""

    @contextmanager
    def stage(self: Watching, name: str, total: int | None) -> Iterator[Advance]:
        yield batches.append if name == TRAINING else lambda count: None

    return stage


def test_a_probe_may_be_interrupted_again_and_again(census: Census, store: Store, plain: Extracted) -> None:
    """Each time it comes an epoch further."""
    n = len(census.samples)
    for epoch in range(EPOCHS):
        with pytest.raises(KeyboardInterrupt):
            Extraction(device=CPU, store=store, progress=Watching({TRAINING: n * epoch + n + 1}))(census)
    found, steps = extracted(census, store)
    assert_same(found, plain)
    assert steps[TRAINING] == n * (EPOCHS + 1)


def test_a_broken_checkpoint_is_a_new_start(census: Census, store: Store, plain: Extracted) -> None:
    """Nothing of it is used."""
    with pytest.raises(KeyboardInterrupt):
        Extraction(device=CPU, store=store, progress=Watching({TRAINING: 150}))(census)
    (shard,) = (store.root / "checkpoints").rglob("*.arrow")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    assert_same(extracted(census, store)[0], plain)


def test_names_of_files_do_not_matter_to_a_probe_contents_and_labels_do(
    census: Census, store: Store, tmp_path: Path
) -> None:
    """A set renamed is the same set; one image or label changed is another."""
    extracted(census, store)
    written(tmp_path / "renamed", lambda number: f"n{99 - number}.png")
    renamed = take_census(open_source(str(tmp_path / "renamed")))
    assert TRAINING not in extracted(renamed, store)[1]
    file = next((tmp_path / "renamed" / "bar").iterdir())
    file.rename(tmp_path / "renamed" / "dot" / "relabelled.png")
    relabelled = take_census(open_source(str(tmp_path / "renamed")))
    assert TRAINING in extracted(relabelled, store)[1]
    (tmp_path / "renamed" / "dot" / "relabelled.png").unlink()
    fewer = take_census(open_source(str(tmp_path / "renamed")))
    assert TRAINING in extracted(fewer, store)[1]


def written(root: Path, name: Callable[[int], str]) -> None:
    """The toys under other names."""
    for number, (kind, content, _) in enumerate(toy_images(each=16, planted=4)):
        (root / kind).mkdir(parents=True, exist_ok=True)
        (root / kind / name(number)).write_bytes(content)


def test_another_seed_code_or_library_is_another_probe(
    census: Census, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of the first is used."""
    extracted(census, store)
    assert TRAINING in extracted(census, store, seed=1)[1]
    for name in ("implementation", "version_of", "_in_bf16"):
        with monkeypatch.context() as patch:
            patch.setattr(room, name, lambda *anything: "other")
            assert TRAINING in extracted(census, store)[1]
    assert TRAINING not in extracted(census, store)[1]


# What a probe says besides

LAYERS, DROPOUT = "view layers", "view dropout"
