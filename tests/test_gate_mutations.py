"""Whatever changes in the data or in the verdict folder, the gate refuses it and names what differs.

A verdict folder that was rewritten as a whole, to agree with other data and with itself, cannot be told without a
signature; nothing here pretends otherwise.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from toy_verdicts import EACH, pictures, write_folder, write_parquet, write_verdict

from sanitizer import gate
from sanitizer.outcome import CANNOT_VOUCH, WITHIN
from sanitizer.record import GALLERY, MANIFEST, SUMMARY, TABLE
from sanitizer.sources.encode import encode

INSTANCES = range(6)
NAMES = list(pictures())


@dataclass(frozen=True)
class Case:
    """A copy of the data and of its verdict, to be changed."""

    layout: str
    data: Path
    verdict: Path

    def id_of(self, name: str) -> str:
        """What an image of ``pictures`` is called in this layout."""
        return name if self.layout == "folder" else f"{self.data.name}#{NAMES.index(name)}"

    def put(self, change: Callable[[dict[str, bytes]], None]) -> None:
        """Change the images of a folder."""
        images = pictures()
        change(images)
        if self.layout == "folder":
            shutil.rmtree(self.data)
            write_folder(self.data, images)
        else:
            write_parquet(self.data, images)


LAYOUTS = {"folder": (write_folder, "data"), "parquet": (write_parquet, "data.parquet")}


@pytest.fixture(scope="module", params=LAYOUTS)
def scanned(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Data with a verdict that passes: nothing planted, one label in doubt."""
    root = tmp_path_factory.mktemp("scanned")
    write, name = LAYOUTS[request.param]
    write(root / name)
    made = Case(request.param, root / name, root / "verdict")
    write_verdict(made.data, made.verdict, {made.id_of(NAMES[3]): "label"})
    return made


@pytest.fixture
def case(scanned: Case, tmp_path: Path) -> Case:
    """A copy of both, at another path."""
    copy = shutil.copytree if scanned.data.is_dir() else shutil.copy
    data = Path(copy(scanned.data, tmp_path / scanned.data.name))
    return Case(scanned.layout, data, Path(shutil.copytree(scanned.verdict, tmp_path / "verdict")))


def test_untouched_data_passes_wherever_it_lies(case: Case) -> None:
    """The control: a copy of the data and a copy of the verdict, both at other paths than they were made."""
    outcome = gate(case.data, verdict=case.verdict)
    assert (outcome.code, outcome.reasons) == (WITHIN, ())


def _flipped_byte(case: Case, number: int) -> str:
    name = NAMES[3 * number]

    def change(images: dict[str, bytes]) -> None:
        content = bytearray(images[name])
        content[(7 * number + 5) % len(content)] ^= 1 << number
        images[name] = bytes(content)

    case.put(change)
    return f"1 changed: {case.id_of(name)}"


def _added(case: Case, number: int) -> str:
    content = encode(np.full((8, 8, 3), number, np.uint8), "PNG") if number % 2 else pictures()[NAMES[number]]
    new = f"dog/~{number}.png"  # in both layouts the last one: whoever comes before keeps its row
    case.put(lambda images: images.update({new: content}))
    return f"1 added: {new if case.layout == 'folder' else f'{case.data.name}#{len(NAMES)}'}"


def _removed(case: Case, number: int) -> str:
    # Other rows of a table move up when one is gone, so that some of the last are missed.
    gone = NAMES[-1 - number :] if case.layout == "parquet" else [NAMES[3 * number]]

    def change(images: dict[str, bytes]) -> None:
        for name in gone:
            del images[name]

    case.put(change)
    return f"{len(gone)} removed: {case.id_of(gone[0])}"


def _renamed(case: Case, number: int) -> str:
    if case.layout == "parquet":
        case.data.rename(case.data.with_name(f"moved{number}.parquet"))
        return f"{len(NAMES)} renamed: data.parquet#0 -> moved{number}.parquet#0"
    old, new = NAMES[2 * number], NAMES[2 * number].replace(".png", "~.png")
    (case.data / old).rename(case.data / new)
    return f"1 renamed: {old} -> {new}"


def _moved_to_another_class(case: Case, number: int) -> str:
    old = NAMES[3 * number]
    label, _, name = old.partition("/")
    new = f"{'cow' if number % 2 else 'dog' if label == 'cat' else 'cat'}/~{name}"
    if case.layout == "folder":
        (case.data / new).parent.mkdir(exist_ok=True)
        (case.data / old).rename(case.data / new)
        return f"1 relabelled: {new}"
    table = pq.read_table(case.data)
    labels = table["label"].to_pylist()
    labels[NAMES.index(old)] = new.partition("/")[0]
    pq.write_table(table.set_column(1, "label", pa.array(labels)), case.data)
    return f"1 relabelled: {case.id_of(old)}"


def _table_edited(case: Case, number: int) -> str:
    path = case.verdict / TABLE
    table = pq.read_table(path, partitioning=None)
    edits: tuple[Callable[[], pa.Table], ...] = (
        lambda: _with(table, "suspicious", [False] * table.num_rows),
        lambda: _with(table, "kind", [""] * table.num_rows),
        lambda: table.slice(1),
        lambda: table.slice(0, table.num_rows - 1),
        lambda: _with(table, "score", [0.0] * table.num_rows),
        lambda: table.take(list(range(table.num_rows))[::-1]),
    )
    pq.write_table(edits[number](), path)
    return TABLE


def _with(table: pa.Table, name: str, values: list[Any]) -> pa.Table:
    place = table.column_names.index(name)
    return table.set_column(place, name, pa.array(values, table.schema.field(name).type))


def _summary_edited(case: Case, number: int) -> str:
    path = case.verdict / SUMMARY
    summary = json.loads(path.read_bytes())
    edits: tuple[dict[str, Any], ...] = (
        {"counts": summary["counts"] | {"refused": 1}},
        {"answer": summary["answer"] | {"sentence": "Perfectly clean."}},
        {"detectors": {"run": [{"name": "lof"}], "not_run": []}},
        {"calibration": summary["calibration"] | {"kind": "trusted"}},
        {"timings": {}},  # not in the verdict's digest, and in the file's
        {"source": "/elsewhere"},
    )
    path.write_text(json.dumps(summary | edits[number]))
    return SUMMARY


def _manifest_edited(case: Case, number: int) -> str:
    path = case.verdict / MANIFEST
    statement = json.loads(path.read_bytes())
    subject, predicate = statement["subject"], statement["predicate"]
    edits: tuple[Callable[[], Any], ...] = (
        lambda: subject.pop(),
        lambda: subject[0]["annotations"].update(label="cow"),
        lambda: subject[1]["digest"].update(sha256="0" * 64),
        lambda: predicate.update(verdictDigest="0" * 64),
        lambda: predicate["counts"].update(unreadable=1),
        lambda: statement.update(predicateType="https://example.org/other"),
    )
    edits[number]()
    path.write_text(json.dumps(statement))
    return MANIFEST


def _gallery_replaced(case: Case, number: int) -> str:
    path = case.verdict / GALLERY
    old = path.read_bytes()
    path.write_bytes((b"", old + b"\0", old[:-1], old[1:], b"PAR1", (case.verdict / TABLE).read_bytes())[number])
    return GALLERY


def _folder_changed(case: Case, number: int) -> str:
    if number < 2:
        name = ("notes.txt", ".verdicts.parquet.swp")[number]
        (case.verdict / name).write_text("foreign")
    elif number == 2:
        name = "old"
        (case.verdict / name).mkdir()
    else:
        name = (TABLE, SUMMARY, MANIFEST)[number - 3]
        (case.verdict / name).unlink()
    return name


MUTATIONS = (
    _flipped_byte, _added, _removed, _renamed, _moved_to_another_class, _table_edited, _summary_edited,
    _manifest_edited, _gallery_replaced, _folder_changed,
)  # fmt: skip


@pytest.mark.parametrize("number", INSTANCES)
@pytest.mark.parametrize("mutate", MUTATIONS, ids=lambda mutate: mutate.__name__.strip("_"))
def test_each_change_is_refused_and_named(case: Case, mutate: Callable[[Case, int], str], number: int) -> None:
    """With code 2, and a line that names what differs."""
    named = mutate(case, number)
    (present,) = case.data.parent.glob("*.parquet" if case.layout == "parquet" else "data")
    outcome = gate(present, verdict=case.verdict)
    assert (outcome.code, outcome.ok) == (CANNOT_VOUCH, False)
    assert named in " ".join(outcome.reasons)
    assert outcome.verdict is None


def test_all_of_them_are_different() -> None:
    """Sixty for each layout."""
    assert len(MUTATIONS) * len(INSTANCES) == 60
    assert len(NAMES) == 2 * EACH
