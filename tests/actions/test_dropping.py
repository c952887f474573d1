"""What may be dropped: only what a sound verdict flagged, and never more than the caps allow."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up import flagged, make_verdict, row, unread

from sanitizer.actions.dropping import flagged_ids, sound
from sanitizer.errors import UsageError, VerdictError
from sanitizer.record import TABLE, Verdict
from sanitizer.sources.base import Source, open_source
from sanitizer.sources.census import take_census
from sanitizer.sources.encode import encode

Write = Callable[..., Path]


def png(value: int) -> bytes:
    """A small picture unlike all others."""
    return encode(np.full((4, 4, 3), value, np.uint8), "PNG")


def write_pictures(root: Path, cats: int = 12, dogs: int = 10) -> Path:
    """``root/<class>/<number>.png``, and what is no picture: a broken one, a link out of the root, a note."""
    for value in range(cats + dogs):
        home = root / ("cat" if value < cats else "dog")
        home.mkdir(parents=True, exist_ok=True)
        (home / f"{value:02}.png").write_bytes(png(value))
    (root / "cat" / "broken.png").write_bytes(png(0)[:40])
    (root / "dog" / "out.png").symlink_to("/etc/hostname")
    (root / "cat" / "notes.txt").write_text("hello")
    return root


def judged(source: Source, flags: Collection[str], *, kind: str = "planted", **summary: Any) -> Verdict:
    """The verdict that a scan of ``source`` could have come to."""
    census = take_census(source)
    names: dict[int | None, str | None] = {None: None, **dict(enumerate(census.class_names))}
    rows = [
        (flagged(sample.id, names[sample.label], digest=sample.digest, label=sample.label, kind=kind))
        if sample.id in flags
        else row(sample.id, names[sample.label], digest=sample.digest, label=sample.label)
        for sample in census.samples
    ]
    rows += [unread(other.id, str(other.status), label_name=names[other.label]) for other in census.others]
    return make_verdict(rows, **summary)


def of_class(name: str, size: int, planted: int = 0, label: int = 0) -> list[dict[str, Any]]:
    """Rows of one class, of which the first ones are flagged."""
    kinds = ["planted"] * planted + ["label"] * label
    rows = [flagged(f"{name}/{number}", name, kind=kind) for number, kind in enumerate(kinds)]
    return rows + [row(f"{name}/{number}", name) for number in range(len(kinds), size)]


def test_what_is_flagged_is_named_by_kind() -> None:
    """One kind, the other, or both."""
    verdict = make_verdict(of_class("cat", 40, planted=3, label=2))
    assert flagged_ids(verdict) == {f"cat/{number}" for number in range(5)}
    assert flagged_ids(verdict, ("planted",)) == {"cat/0", "cat/1", "cat/2"}
    assert flagged_ids(verdict, ("label",)) == {"cat/3", "cat/4"}


@pytest.mark.parametrize("kinds", [(), ("poison",), ("planted", "")])
def test_an_unknown_kind_is_refused(kinds: tuple[str, ...]) -> None:
    """Nothing would be dropped, and that would pass for success."""
    with pytest.raises(UsageError, match="planted, label"):
        flagged_ids(make_verdict(of_class("cat", 40, planted=3)), kinds)


@given(
    classes=st.lists(
        st.integers(1, 30).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size))), min_size=1
    ),
    share=st.sampled_from([0.05, 0.2, 0.5, 1.0]),
)
def test_never_more_than_the_caps_allow(classes: list[tuple[int, int]], share: float) -> None:
    """Whatever a table says: all that was flagged is named, or, where it breaks a cap, nothing."""
    rows = [one for place, (size, count) in enumerate(classes) for one in of_class(f"c{place}", size, planted=count)]
    verdict = make_verdict(rows, parameters={"max_drop": share})
    total, flags = len(rows), sum(count for _, count in classes)
    within = flags <= share * total + 1e-9 and all(
        not count or (size >= 10 and count <= size / 2) for size, count in classes
    )
    if within:
        assert len(flagged_ids(verdict)) == flags
    else:
        with pytest.raises(VerdictError, match="caps"):
            flagged_ids(verdict)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (of_class("cat", 100, planted=21), "21 of 100 samples (at most 20 (max_drop))"),
        (of_class("cat", 20, planted=11) + of_class("dog", 100), "11 of 20 samples of class 'cat' (at most 50%)"),
        (of_class("cat", 9, planted=1) + of_class("dog", 100), "1 of the 9 samples of class 'cat' (at most none"),
        ([*of_class("cat", 100), unread("cat/x", suspicious=True, kind="planted")], "'cat/x', which is unreadable"),
    ],
    ids=["set", "class", "small class", "never scanned"],
)
def test_each_cap_says_what_broke_it(rows: list[dict[str, Any]], said: str) -> None:
    """With the numbers."""
    with pytest.raises(VerdictError) as error:
        flagged_ids(make_verdict(rows))
    assert said in str(error.value)


@pytest.mark.parametrize(
    "rows", [of_class("cat", 20, planted=11), of_class("cat", 9, planted=1)], ids=["most", "small"]
)
def test_beside_trusted_samples_only_the_set_has_a_cap(rows: list[dict[str, Any]]) -> None:
    """What stands out from them was told apart one by one; without them a class is judged by itself."""
    rows = [*rows, *of_class("dog", 100)]
    count = sum(one["suspicious"] for one in rows)
    for kind in ("self", "Trusted", None, ["trusted"]):
        for calibration in ({"kind": kind}, kind):
            with pytest.raises(VerdictError, match="caps"):
                flagged_ids(make_verdict(rows, calibration=calibration))
    assert len(flagged_ids(make_verdict(rows, calibration={"kind": "trusted"}))) == count
    with pytest.raises(VerdictError, match="max_drop"):
        flagged_ids(make_verdict(rows, calibration={"kind": "trusted"}, parameters={"max_drop": 0.001}))


@pytest.mark.parametrize("share", [None, "0.2", float("nan"), 0, -1, 2, float("inf"), [0.2]])
def test_a_cap_that_is_none_is_refused(share: Any) -> None:
    """Without a limit nothing may be dropped."""
    with pytest.raises(VerdictError, match="max_drop"):
        flagged_ids(make_verdict(of_class("cat", 40, planted=3), parameters={"max_drop": share}))
    with pytest.raises(VerdictError, match="max_drop"):
        flagged_ids(make_verdict(of_class("cat", 40, planted=3), parameters=None))


@pytest.mark.parametrize("damage", ["type", "null", "twice", "absent"])
def test_a_foreign_table_is_an_error_of_one_line(damage: str) -> None:
    """A verdict may come from anywhere, and hold anything under the right names."""
    verdict = make_verdict(of_class("cat", 40, planted=3))
    table = verdict.table
    if damage == "twice":
        table = pa.concat_tables([table, table.slice(0, 1)])
    elif damage == "absent":
        table = table.drop_columns(["kind"])
    else:
        values = pa.array(["maybe"] * 40) if damage == "type" else pa.nulls(40, pa.bool_())
        table = table.set_column(table.column_names.index("suspicious"), "suspicious", values)
    with pytest.raises(VerdictError, match="expected a verdict") as error:
        flagged_ids(Verdict(table, verdict.summary))
    assert "\n" not in str(error.value)


def test_a_sound_verdict_is_read(tmp_path: Path, write_folder: Write) -> None:
    """The data as it was scanned."""
    source = open_source(write_pictures(tmp_path / "data"))
    verdict = judged(source, {"cat/00.png"})
    assert sound(write_folder(verdict), source).digest == verdict.digest


def _change(root: Path) -> str:
    (root / "cat/01.png").write_bytes(png(99))
    return "1 changed: cat/01.png"


def _remove(root: Path) -> str:
    (root / "cat/01.png").unlink()
    return "1 removed: cat/01.png"


def _add(root: Path) -> str:
    for number in range(20):
        (root / "cat" / f"new-with-quite-a-long-name-{number:02}.png").write_bytes(png(100 + number))
    return "20 added: cat/new-with-quite-a-long-name-00.png"


def _relabel(root: Path) -> str:
    (root / "cat/01.png").rename(root / "dog/01.png")
    return "1 renamed: cat/01.png -> dog/01.png"


def _repair(root: Path) -> str:
    (root / "cat/broken.png").write_bytes(png(98))
    return "1 changed: cat/broken.png"


@pytest.mark.parametrize("meddle", [_change, _remove, _add, _relabel, _repair])
def test_data_that_is_no_longer_what_was_scanned_is_refused(
    tmp_path: Path, write_folder: Write, meddle: Callable[[Path], str]
) -> None:
    """In one line that names the first differences and what to do."""
    root = write_pictures(tmp_path / "data")
    folder = write_folder(judged(open_source(root), {"cat/00.png"}))
    expected = meddle(root)
    with pytest.raises(VerdictError) as error:
        sound(folder, open_source(root))
    assert expected in str(error.value)
    assert "scan again" in str(error.value)
    assert len(str(error.value)) < 450
    assert "\n" not in str(error.value)


def test_a_verdict_that_was_meddled_with_is_refused(tmp_path: Path, write_folder: Write) -> None:
    """Its files are vouched for by its manifest."""
    source = open_source(write_pictures(tmp_path / "data"))
    folder = write_folder(judged(source, {"cat/00.png"}))
    other = judged(source, {"cat/01.png"})
    pa.parquet.write_table(other.table, folder / TABLE)
    with pytest.raises(VerdictError, match=r"1 tampered: verdicts\.parquet"):
        sound(folder, source)


def test_an_incomplete_verdict_is_refused_unless_it_will_do(tmp_path: Path, write_folder: Write) -> None:
    """What it did not see could be worse than what it flagged."""
    source = open_source(write_pictures(tmp_path / "data"))
    folder = write_folder(judged(source, {"cat/00.png"}, incomplete=["a detector failed"]))
    with pytest.raises(VerdictError, match=r"complete verdict .* a detector failed; scan again"):
        sound(folder, source)
    assert flagged_ids(sound(folder, source, incomplete_ok=True)) == {"cat/00.png"}


def test_a_verdict_on_nothing_is_refused(tmp_path: Path, write_folder: Write) -> None:
    """An empty copy would be no answer."""
    folder = write_folder(make_verdict([unread("cat/broken.png")]))
    with pytest.raises(VerdictError, match="on none"):
        sound(folder, open_source(write_pictures(tmp_path / "data")))


def test_what_is_known_to_be_gone_may_be_missing(tmp_path: Path, write_folder: Write) -> None:
    """And nothing else may."""
    root = write_pictures(tmp_path / "data")
    folder = write_folder(judged(open_source(root), {"cat/00.png", "cat/01.png"}))
    (root / "cat/00.png").unlink()
    assert sound(folder, open_source(root), gone={"cat/00.png"})
    (root / "cat/01.png").unlink()
    with pytest.raises(VerdictError, match=r"1 removed: cat/01\.png"):
        sound(folder, open_source(root), gone={"cat/00.png"})
