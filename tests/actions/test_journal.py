"""The journal of a quarantine: enough to bring everything back, wherever it was cut, and no way out of the source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from quarantine_toys import DEEP, Scene, tree

from sanitizer.actions.journal import ITEMS, JOURNAL
from sanitizer.actions.quarantine import restore
from sanitizer.errors import UsageError

pytestmark = pytest.mark.usefixtures("unhurried_disk")


def test_the_journal_says_what_belongs_where(scene: Scene) -> None:
    """One JSON object a line: the source and the verdict, then every file; no time of day."""
    before = tree(scene.root)
    scene.move()
    header, *entries = map(json.loads, (scene.to / JOURNAL).read_text("ascii").splitlines())
    assert header == {"quarantine": 1, "root": str(scene.root), "verdict": header["verdict"]}
    for entry in entries:
        assert set(entry) == {"id", "path", "sha256", "size", "mode", "mtime_ns"}
        mode, moment, content = before[entry["path"]]
        assert (entry["mode"], entry["mtime_ns"], entry["size"]) == (mode, moment, len(content))
    assert {entry["path"] for entry in entries} == set(scene.paths)


def test_a_journal_that_was_cut_anywhere_still_brings_everything_back(scene: Scene) -> None:
    """An entry without its end was never acted upon, and is written again."""
    before = tree(scene.root)
    scene.move()
    whole = (scene.to / JOURNAL).read_bytes()
    restore(scene.to)
    start = whole.index(b"\n") + 1
    cuts = [whole[:end] for end in range(start, len(whole), 23)]
    for number, cut in enumerate([*cuts, whole[:start] + b"{" * 5000]):
        (scene.to / ITEMS).mkdir(parents=True)
        (scene.to / JOURNAL).write_bytes(cut)
        if number % 2 or cut not in cuts:
            assert set(scene.move().moved) == set(scene.flags)
            assert len([json.loads(line) for line in (scene.to / JOURNAL).read_text().splitlines()]) >= 3
        assert restore(scene.to).removed
        assert tree(scene.root) == before


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"{}\n", b"[]\n", b"7\n", b"not JSON\n", b'{"quarantine": 2, "root": "/", "verdict": ""}\n',
        b'{"quarantine": 1, "root": "data", "verdict": ""}\n', b"[" * 100_000 + b"\n",
    ],
    ids=range(9),
)  # fmt: skip
def test_a_foreign_journal_is_refused(tmp_path: Path, content: bytes) -> None:
    """In one line, and nothing is removed."""
    (tmp_path / JOURNAL).write_bytes(content)
    with pytest.raises(UsageError, match="expected a quarantine") as error:
        restore(tmp_path)
    assert "\n" not in str(error.value)
    assert (tmp_path / JOURNAL).read_bytes() == content


@pytest.mark.parametrize(
    "said",
    [
        *({"path": path} for path in ("../x", "/etc/x", "a/../../x", "", ".", "a//b", "a\0b", "\ud800", 7)),
        {"mode": -1}, {"mode": 2**40}, {"mtime_ns": 2**70}, {"mtime_ns": 1.5}, {"sha256": None}, {"id": 3}, {"more": 1},
    ],
    ids=ascii,
)  # fmt: skip
def test_a_journal_cannot_lead_out_of_the_source(scene: Scene, said: dict[str, Any]) -> None:
    """A path is relative and stays inside; what no file has is not in it."""
    scene.move()
    lines = (scene.to / JOURNAL).read_text().splitlines()
    lines[1] = json.dumps(json.loads(lines[1]) | said)
    (scene.to / JOURNAL).write_text("\n".join([*lines, ""]))
    with pytest.raises(UsageError, match="expected a quarantine"):
        restore(scene.to)
    assert (scene.to / ITEMS / DEEP).exists()
