"""Every change to the data or to the verdict folder is found and named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_up import FakeSource, flagged, make_verdict, row, unread

from sanitizer.actions.manifest import canonical, read_manifest
from sanitizer.actions.verify import Differences, verify
from sanitizer.errors import VerdictError
from sanitizer.record import GALLERY, MANIFEST, SUMMARY, TABLE
from sanitizer.sources.base import Status, digest_of, open_source
from sanitizer.sources.census import take_census
from sanitizer.sources.encode import encode

NAMES = [f"{label}/{number}" for label in ("cat", "dog") for number in range(5)]
TWINS = ["cat/twin1", "cat/twin2", "cat/twin3"]
BROKEN, LINK, NOTE = "cat/broken.png", "cat/link.png", "readme.txt"
PNG = encode(np.zeros((4, 4, 3), np.uint8), "PNG")

Items = dict[str, tuple[bytes | Status, str | None]]


def items() -> Items:
    """The source as it was scanned."""
    read: Items = {name: (name.encode(), name[:3]) for name in NAMES}
    twins: Items = dict.fromkeys(TWINS, (b"twin", "cat"))
    # A broken image is handed out by the source as it lies there; the census is who finds that it is broken.
    others: Items = {BROKEN: (PNG[:40], "cat"), LINK: (Status.REFUSED, "cat"), NOTE: (Status.IGNORED, None)}
    return read | twins | others


@pytest.fixture
def folder(write_folder: Callable[..., Path]) -> Path:
    """The verdict over ``items()``."""
    rows = [flagged(NAMES[0]), *(row(name, name[:3]) for name in NAMES[1:])]
    rows += [row(name, digest=digest_of(b"twin")) for name in TWINS]
    return write_folder(make_verdict([*rows, unread(BROKEN), unread(LINK, "refused"), unread(NOTE, "ignored")]))


def test_untouched_data_is_ok(folder: Path) -> None:
    """Nothing changed, nothing to say."""
    differences = verify(folder, FakeSource(items()))
    assert differences.ok
    assert differences.lines() == []


def _change(items: Items, name: str) -> Differences:
    items[name] = (b"\x01" + name.encode(), items[name][1])
    return Differences(changed=(name,))


def _truncate(items: Items, name: str) -> Differences:
    items[name] = (b"", items[name][1])
    return Differences(changed=(name,))


def _make_unreadable(items: Items, name: str) -> Differences:
    items[name] = (Status.REFUSED, items[name][1])
    return Differences(changed=(name,))


def _add(items: Items, name: str) -> Differences:
    items[name + "+"] = (b"new", items[name][1])
    return Differences(added=(name + "+",))


def _copy(items: Items, name: str) -> Differences:
    items[name + "+"] = items[name]
    return Differences(added=(name + "+",))


def _remove(items: Items, name: str) -> Differences:
    del items[name]
    return Differences(removed=(name,))


def _rename(items: Items, name: str) -> Differences:
    items[name + "+"] = items.pop(name)
    return Differences(renamed=((name, name + "+"),))


def _relabel(items: Items, name: str) -> Differences:
    items[name] = (items[name][0], "cow")
    return Differences(relabelled=(name,))


def _move_to_another_class(items: Items, name: str) -> Differences:
    items["cow/" + name] = (items.pop(name)[0], "cow")
    return Differences(renamed=((name, "cow/" + name),), relabelled=("cow/" + name,))


MUTATIONS = [_change, _truncate, _make_unreadable, _add, _copy, _remove, _rename, _relabel, _move_to_another_class]


@pytest.mark.parametrize("name", [*NAMES[:5], NAMES[7], TWINS[1]])
@pytest.mark.parametrize("mutate", MUTATIONS, ids=lambda mutate: mutate.__name__.strip("_"))
def test_each_change_to_an_item_is_named(folder: Path, mutate: Callable[..., Differences], name: str) -> None:
    """One thing changed: exactly that is reported, of single items and of one among identical ones."""
    now = items()
    expected = mutate(now, name)
    found = verify(folder, FakeSource(now))
    assert found == expected
    assert not found.ok
    assert name in " ".join(found.lines())


def test_swapped_contents_are_two_changes(folder: Path) -> None:
    """Two files that trade their bytes are both named."""
    now = items()
    now["cat/0"], now["dog/0"] = (now["dog/0"][0], "cat"), (now["cat/0"][0], "dog")
    assert verify(folder, FakeSource(now)) == Differences(changed=("cat/0", "dog/0"))


def test_swapped_labels_are_two_relabelled_items(folder: Path) -> None:
    """Labels kept in a table can be traded without touching a single image."""
    now = items()
    now["cat/0"], now["dog/0"] = (now["cat/0"][0], "dog"), (now["dog/0"][0], "cat")
    assert verify(folder, FakeSource(now)) == Differences(relabelled=("cat/0", "dog/0"))


def test_identical_files_keep_their_multiplicity(folder: Path) -> None:
    """Three twins of which two are renamed and one is lost: two renames, one removal."""
    now = items()
    for name in TWINS:
        del now[name]
    now |= {"cat/a": (b"twin", "cat"), "cat/b": (b"twin", "cat")}
    found = verify(folder, FakeSource(now))
    assert found == Differences(renamed=(("cat/twin1", "cat/a"), ("cat/twin2", "cat/b")), removed=("cat/twin3",))


def test_a_rename_prefers_the_twin_of_its_own_label(folder: Path) -> None:
    """A file that moved within its class is not reported as relabelled because a twin moved out of it."""
    now = items()
    for name in TWINS[:2]:
        del now[name]
    now |= {"ape/a": (b"twin", "ape"), "cat/z": (b"twin", "cat")}
    found = verify(folder, FakeSource(now))
    assert found.relabelled == ("ape/a",)
    assert set(found.renamed) == {("cat/twin1", "cat/z"), ("cat/twin2", "ape/a")}


@pytest.mark.parametrize("name", [BROKEN, LINK, NOTE])
def test_an_item_that_was_never_read_and_now_is_an_image_is_a_change(folder: Path, name: str) -> None:
    """What was waved through as unreadable cannot be replaced by something that trains."""
    now = items()
    now[name] = (PNG, "cat")
    assert verify(folder, FakeSource(now)) == Differences(changed=(name,))


@pytest.mark.parametrize("name", [BROKEN, LINK, NOTE])
def test_an_item_that_was_never_read_can_be_missed(folder: Path, name: str) -> None:
    """Items without a digest are compared by name and status."""
    now = items()
    del now[name]
    assert verify(folder, FakeSource(now)) == Differences(removed=(name,))


@pytest.mark.parametrize("name", [TABLE, SUMMARY, GALLERY])
@pytest.mark.parametrize("damage", [lambda old: None, lambda old: b"", lambda old: old + b" ", lambda old: b"x" + old])
def test_each_file_of_the_verdict_is_vouched_for(folder: Path, name: str, damage: Any) -> None:
    """A file that is missing, emptied, lengthened or overwritten is named, and nothing raises."""
    content = damage((folder / name).read_bytes())
    (folder / name).unlink() if content is None else (folder / name).write_bytes(content)
    assert verify(folder, FakeSource(items())) == Differences(tampered=(name,))


def test_a_cleared_sample_is_noticed(folder: Path) -> None:
    """Rewriting the table so that nothing is suspicious leaves a trace."""
    table = pq.read_table(folder / TABLE)
    place = table.column_names.index("suspicious")
    pq.write_table(table.set_column(place, "suspicious", pa.array([False] * table.num_rows)), folder / TABLE)
    assert verify(folder, FakeSource(items())).tampered == (TABLE,)


@pytest.mark.parametrize("part", ["digest", "label", "status", "drop", "counts", "verdictDigest", "files", "tool"])
def test_an_edited_manifest_no_longer_fits_its_verdict(folder: Path, part: str) -> None:
    """Whatever is changed in the manifest alone contradicts the table, the summary or the files."""
    statement = read_manifest(folder)
    subject, predicate = statement["subject"][0], statement["predicate"]
    if part == "digest":
        subject["digest"]["sha256"] = "0" * 64
    elif part in ("label", "status"):
        subject["annotations"][part] = "other"
    elif part == "drop":
        del statement["subject"][0]
    elif part == "counts":
        predicate["counts"]["scanned"] -= 1
    elif part == "files":
        predicate["files"][GALLERY] = "0" * 64
    else:
        predicate[part] = "other"
    (folder / MANIFEST).write_bytes(canonical(statement))
    expected = GALLERY if part == "files" else MANIFEST
    assert verify(folder, FakeSource(items())).tampered == (expected,)


def test_counts_that_do_not_fit_the_table_are_noticed(folder: Path) -> None:
    """A summary and a manifest that agree on a wrong count still contradict the table."""
    summary = json.loads((folder / SUMMARY).read_bytes())
    summary["counts"]["refused"] = 0
    (folder / SUMMARY).write_text(json.dumps(summary))
    statement = read_manifest(folder)
    statement["predicate"]["counts"]["refused"] = 0
    statement["predicate"]["files"][SUMMARY] = digest_of((folder / SUMMARY).read_bytes())
    (folder / MANIFEST).write_bytes(canonical(statement))
    assert verify(folder, FakeSource(items())).tampered == (MANIFEST,)


def test_a_folder_without_a_manifest_is_an_error(folder: Path) -> None:
    """There is nothing to compare with."""
    (folder / MANIFEST).unlink()
    with pytest.raises(VerdictError, match="expected the manifest"):
        verify(folder, FakeSource(items()))


def test_long_lists_are_cut(folder: Path) -> None:
    """Ten names of each kind are enough to read; the number says the rest."""
    (line,) = verify(folder, FakeSource(items() | {f"new{n:02}": (b"%d" % n, None) for n in range(25)})).lines()
    assert line.startswith("25 added: new00, new01")
    assert line.endswith("new09 and 15 more")


def test_a_folder_on_disk_is_the_same_at_another_path(tmp_path: Path, write_folder: Callable[..., Path]) -> None:
    """A copy of the data verifies, one flipped byte in it does not; a broken file is no surprise."""
    rng = np.random.default_rng(0)
    for name in ("cat/1.png", "cat/2.png", "dog/1.png"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(rng.integers(0, 256, (8, 8, 3), np.uint8), "PNG"))
    (tmp_path / "data/dog/2.png").write_bytes(PNG[:40])
    census = take_census(open_source(str(tmp_path / "data")))
    rows = [row(s.id, census.class_names[s.label or 0], digest=s.digest) for s in census.samples]
    folder = write_folder(make_verdict([*rows, *(unread(o.id, str(o.status)) for o in census.others)]))

    copy = Path(shutil.copytree(tmp_path / "data", tmp_path / "elsewhere" / "copy"))
    assert len(census.others) == 1
    assert verify(folder, open_source(str(copy))) == Differences()
    flipped = bytearray((copy / "cat/2.png").read_bytes())
    flipped[-20] ^= 1
    (copy / "cat/2.png").write_bytes(flipped)
    assert verify(folder, open_source(str(copy))) == Differences(changed=("cat/2.png",))
