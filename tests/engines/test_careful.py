"""Workers that die: a block is begun anew a few times, and then the scan ends with one line."""

from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from sanitizer.engines import careful
from sanitizer.engines.careful import RETRIES, Attempts, Careful, ClusterError
from sanitizer.engines.cluster import one_line
from sanitizer.errors import SourceError

CALLS = ("begin", "fail", "failure")
BLOCK = pa.table({"id": ["a.png", "b.png"], "place": [3, 3]})


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Attempts as Ray offers them, without Ray."""
    monkeypatch.setattr(careful.importlib, "import_module", lambda name: SimpleNamespace(get=lambda value: value))
    attempts = Attempts()
    return SimpleNamespace(**{name: SimpleNamespace(remote=getattr(attempts, name)) for name in CALLS})


class Echo:
    """Gives back what it gets."""

    def __call__(self, block: pa.Table) -> pa.Table:
        """The same."""
        return block


def test_a_block_that_kills_is_given_up(counter: Any) -> None:
    """Every worker is a new one, as after a death; the line names the items."""
    for _ in range(RETRIES + 1):
        assert Careful(Echo, {}, counter)(BLOCK) is BLOCK
    with pytest.raises(ClusterError, match=r"4 of them died over the items from 'a\.png' to 'b\.png'"):
        Careful(Echo, {}, counter)(BLOCK)


def test_the_first_error_of_a_worker_is_kept(counter: Any) -> None:
    """Ray hands on the text of an error; what it was is asked for where it was told."""

    class Complains(Echo):
        def __call__(self, block: pa.Table) -> pa.Table:
            raise SourceError(f"number {block['place'][0]}")

    for place in (3, 4):
        with pytest.raises(SourceError):
            Careful(Complains, {}, counter)(BLOCK.set_column(1, "place", [[place, place]]))
    assert isinstance(counter.failure.remote(), SourceError)
    assert str(counter.failure.remote()) == "number 3"


def test_other_blocks_are_not_blamed(counter: Any) -> None:
    """However many there are."""
    worker = Careful(Echo, {}, counter)
    for place in range(3 * RETRIES):
        block = BLOCK.set_column(1, "place", [[place, place]])
        assert worker(block) is block


def test_errors_of_ours_arrive_as_what_they_were() -> None:
    """Whatever they were wrapped in on the way."""
    inner = SourceError("'a.png' changed: scan again")
    wrapped = RuntimeError("ray::MapWorker() failed\nTraceback ...")
    wrapped.cause = inner  # type: ignore[attr-defined]
    with pytest.raises(SourceError, match="changed: scan again"), one_line():
        raise RuntimeError("outermost") from wrapped


def test_other_errors_are_one_line() -> None:
    """The last line of what Ray has to say, and what to do."""
    with pytest.raises(ClusterError, match="the node ran out of memory") as caught, one_line():
        raise RuntimeError("ray::MapWorker()\n  Traceback\n the node ran out of memory\n\n")
    assert "\n" not in str(caught.value)
