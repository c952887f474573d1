"""``apply``, ``purify``, ``quarantine``, ``restore``, ``explain``: what a user does about what a real scan flagged."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from toy_cli import Answer, Run, assert_one_line, runner
from toy_scans import FAST, contents, hurried, poisoned
from toys import PLANTED

from sanitizer.pipeline import scan
from sanitizer.record import TABLE, Verdict
from sanitizer.sources.encode import format_of


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``sanitizer``."""
    return runner(monkeypatch, capsys)


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A poisoned folder, and the verdict on it."""
    place = tmp_path_factory.mktemp("scanned")
    poisoned(place / "data")
    with hurried():
        scan(place / "data", place / "verdict", FAST)
    return place / "data", place / "verdict"


@pytest.fixture
def data(scanned: tuple[Path, Path], tmp_path: Path) -> Path:
    """A copy of the data, to do anything with."""
    return Path(shutil.copytree(scanned[0], tmp_path / "data", symlinks=True))


@pytest.fixture
def verdict(scanned: tuple[Path, Path]) -> Path:
    """The verdict folder."""
    return scanned[1]


def flagged(verdict: Path) -> set[str]:
    """The ids of what was flagged."""
    return set(Verdict.read(verdict).suspicious()["id"].to_pylist())


def test_apply_writes_what_is_left(run: Run, verdict: Path, data: Path, tmp_path: Path) -> None:
    """With exit code 0, the counts, and the names of what nobody could judge."""
    flags, before = flagged(verdict), contents(data)
    assert len(flags) >= PLANTED
    answer = run("apply", verdict, data, "--to", tmp_path / "copy")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines() == [
        f"{190 - len(flags)} kept, {len(flags)} dropped",
        "1 unreadable, left out: bar/cut.png",
        "1 refused, left out: dot/out.png",
        "2 ignored, no samples; only shards keep them: box/notes.txt, stray.png",
        f"Copy: {tmp_path / 'copy'}",
    ]
    gone = flags | {"bar/cut.png", "dot/out.png", "box/notes.txt", "stray.png"}
    assert contents(tmp_path / "copy") == {name: one for name, one in before.items() if name not in gone}
    assert contents(data) == before


def test_apply_drops_the_kinds_that_are_named(run: Run, verdict: Path, data: Path, tmp_path: Path) -> None:
    """Nothing here is only a label in doubt."""
    answer = run("apply", verdict, data, "--to", tmp_path / "copy", "--kinds", "label")
    assert answer.out.startswith("190 kept, 0 dropped\n")


def test_a_table_is_read_by_the_columns_that_are_named(run: Run, tmp_path: Path, data: Path) -> None:
    """As for a scan."""
    images = sorted(data.rglob("0*.png"))
    columns = {
        "picture": [{"bytes": path.read_bytes(), "path": path.name} for path in images],
        "thumb": [{"bytes": path.read_bytes(), "path": path.name} for path in images],
        "kind": [path.parent.name for path in images],
    }
    (tmp_path / "t").mkdir()
    pq.write_table(pa.table(columns), tmp_path / "t" / "a.parquet")
    words = ("purify", tmp_path / "t" / "a.parquet", "--to", tmp_path / "copy", "--label-column", "kind")
    assert run(*words, "--image-column", "picture").code == 0
    table = pq.read_table(tmp_path / "copy")
    assert {format_of(image["bytes"]) for image in table["picture"].to_pylist()} == {"JPEG"}
    assert {format_of(image["bytes"]) for image in table["thumb"].to_pylist()} == {"PNG"}
    assert_one_line(run(*words[:3], tmp_path / "other", "--image-column", "nonesuch"), "'nonesuch'")


def test_purify_says_what_it_buys_and_costs(run: Run, data: Path, tmp_path: Path) -> None:
    """Every image as JPEG; none is removed but what cannot be read."""
    answer = run("purify", data, "--to", tmp_path / "copy", "--quality", "50")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines()[:3] == [
        "190 encoded again",
        "2 could not be read or written, left out: bar/cut.png, dot/out.png",
        f"Copy: {tmp_path / 'copy'}",
    ]
    assert "two to three points of accuracy" in answer.out.splitlines()[-1]
    assert len(contents(tmp_path / "copy")) == 190


def test_quarantine_and_back(run: Run, verdict: Path, data: Path, tmp_path: Path) -> None:
    """A dry run lists; the real one moves; again there is nothing to do; restore brings everything back."""
    flags, before, to = flagged(verdict), contents(data), tmp_path / "Q"
    words = ("quarantine", verdict, data, "--to", to)
    answer = run(*words, "--dry-run")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines() == [*sorted(flags), f"{len(flags)} to be moved to {to}"]
    assert (contents(data), to.exists()) == (before, False)

    answer = run(*words)
    assert answer == Answer(0, f"{len(flags)} moved to {to}\nBack: sanitizer restore {to}\n", "")
    assert contents(data).keys() == before.keys() - flags
    assert contents(to / "items") == {name: before[name] for name in flags}
    assert run(*words) == Answer(0, f"{len(flags)} in {to} already\n0 moved to {to}\n", "")

    assert run("restore", to) == Answer(0, f"{len(flags)} back in place\n", "")
    assert contents(data) == before
    assert not to.exists()


def test_restore_names_what_could_not_go_back(run: Run, verdict: Path, data: Path, tmp_path: Path) -> None:
    """With exit code 2: a place that is taken is left alone."""
    run("quarantine", verdict, data, "--to", tmp_path / "Q")
    name = sorted(flagged(verdict))[0]
    (data / name).write_bytes(b"mine")
    answer = run("restore", tmp_path / "Q")
    assert (answer.code, answer.err) == (2, "")
    assert answer.out.splitlines() == [
        f"{len(flagged(verdict)) - 1} back in place",
        f"  left: {name}: something else is in its place",
        f"{tmp_path / 'Q'} stays: what is left in it",
    ]
    assert (data / name).read_bytes() == b"mine"


def test_quarantine_says_that_metadata_still_name_what_was_moved(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training code that reads them would miss the files."""
    from sanitizer.actions import quarantine

    done = quarantine.Quarantined(("a.png",), (), ("metadata.csv",))
    monkeypatch.setattr(quarantine, "quarantine", lambda *given, **named: done)
    poisoned(tmp_path / "data")
    answer = run("quarantine", "verdict", tmp_path / "data", "--to", "Q")
    assert "metadata.csv still names them" in answer.out
    assert "sanitizer apply" in answer.out


def test_explain_tells_a_flagged_sample_from_another(run: Run, verdict: Path) -> None:
    """By id, by the end of it, or by its digest."""
    name = sorted(flagged(verdict))[0]
    answer = run("explain", verdict, name)
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert lines[0] == f"{name}: scanned, labelled {name.partition('/')[0]}"
    assert "Flagged: it looks planted." in lines
    assert any("highest of 70" in line and line.endswith("; a reason") for line in lines)
    assert any(line.startswith("Class bar: evidence ") and "suspect from 1.25 on" in line for line in lines)
    assert any(line.startswith("Nearest: bar/") for line in lines)
    assert lines[-1].startswith("Calibration: Self-calibrated")
    assert run("explain", verdict, name.partition("/")[2]) == answer
    assert run("explain", verdict, lines[1].removeprefix("sha256 ")[:12]) == answer
    assert "Not flagged." in run("explain", verdict, "dot/0150.png").out


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["apply", "VERDICT", "DATA"], ["--to"]),
        (["apply", "NONE", "DATA", "--to", "OUT"], ["verdict folder", "sanitizer scan"]),
        (["apply", "VERDICT", "/no/such", "--to", "OUT"], ["does not exist"]),
        (["apply", "VERDICT", "DATA", "--to", "DATA/copy"], ["lies inside"]),
        (["apply", "VERDICT", "DATA", "--to", "VERDICT/copy"], ["lies inside"]),
        (["apply", "VERDICT", "DATA", "--to", "DATA"], ["lies inside"]),
        (["apply", "VERDICT", "DATA", "--to", "OUT", "--kinds", "bad"], ["planted, label", "'bad'"]),
        (["apply", "VERDICT", "DATA", "--to", "OUT", "--kinds", " , "], ["planted, label"]),
        (["apply", "VERDICT", "CHANGED", "--to", "OUT"], ["1 removed: box/0070.png", "scan again"]),
        (["purify", "DATA"], ["--to"]),
        (["purify", "DATA", "--to", "OUT", "--quality", "0"], ["--quality", "1 to 100"]),
        (["purify", "DATA", "--to", "OUT", "--quality", "fine"], ["--quality"]),
        (["purify", "DATA", "--to", "DATA/copy"], ["lies inside"]),
        (["purify", "/no/such", "--to", "OUT"], ["does not exist"]),
        (["quarantine", "VERDICT", "DATA"], ["--to"]),
        (["quarantine", "VERDICT", "DATA", "--to", "DATA/Q"], ["lies inside"]),
        (["quarantine", "VERDICT", "DATA", "--to", "VERDICT/Q"], ["lies inside"]),
        (["quarantine", "VERDICT", "DATA", "--to", "OUT", "--kinds", "bad"], ["planted, label"]),
        (["quarantine", "VERDICT", "CHANGED", "--to", "OUT"], ["1 removed: box/0070.png", "scan again"]),
        (["quarantine", "VERDICT", "CHANGED", "--to", "OUT", "--dry-run"], ["1 removed: box/0070.png"]),
        (["quarantine", "VERDICT", "TABLE", "--to", "OUT"], ["one file for each item", "sanitizer apply"]),
        (["restore", "OUT"], ["expected a quarantine", "journal.jsonl"]),
        (["restore", "DATA"], ["expected a quarantine", "journal.jsonl"]),
        (["restore"], ["Q"]),
        (["explain", "NONE", "bar/0000.png"], ["verdict folder"]),
        (["explain", "VERDICT", "bar/000.png"], ["did you mean 'bar/0"]),
        (["explain", "VERDICT", ".png"], ["name all of it"]),
        (["explain", "VERDICT", "\x1b[2J\n"], ["did you mean"]),
        (["explain", "VERDICT"], ["ID"]),
    ],
    ids=lambda words: ascii(" ".join(words).replace("/", "_")),
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    run: Run, verdict: Path, data: Path, tmp_path: Path, words: list[str], parts: list[str]
) -> None:
    """What was expected, what came, what to do; never a traceback, a finding or a folder."""
    places = {"DATA": data, "VERDICT": verdict, "OUT": tmp_path / "out", "NONE": tmp_path / "none"}
    if "CHANGED" in words:
        (data / "box" / "0070.png").unlink()
        places["CHANGED"] = data
    if "TABLE" in words:
        places["TABLE"] = tmp_path / "a.parquet"
        row = {"image": [{"bytes": (data / "bar" / "0000.png").read_bytes(), "path": None}], "label": ["bar"]}
        pq.write_table(pa.table(row), places["TABLE"])
    before = [contents(folder) for folder in (data, verdict, tmp_path)]
    for short, path in places.items():
        words = [str(path) if word == short else word.replace(f"{short}/", f"{path}/") for word in words]
    assert_one_line(run(*words), *parts)
    assert [contents(folder) for folder in (data, verdict, tmp_path)] == before
    assert not (tmp_path / "out").exists()


def test_a_meddled_verdict_drops_nothing(run: Run, verdict: Path, data: Path, tmp_path: Path) -> None:
    """Its manifest no longer fits."""
    copy = Path(shutil.copytree(verdict, tmp_path / "verdict"))
    table = pq.read_table(copy / TABLE)
    pq.write_table(table.slice(0, 100), copy / TABLE)
    for words in (
        ("apply", copy, data, "--to", tmp_path / "out"),
        ("quarantine", copy, data, "--to", tmp_path / "out"),
    ):
        assert_one_line(run(*words), "1 tampered: verdicts.parquet")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["apply", "purify", "quarantine", "restore", "explain"])
def test_every_command_explains_itself(run: Run, command: str) -> None:
    """On stdout, with exit code 0."""
    answer = run(command, "--help")
    assert (answer.code, answer.err) == (0, "")
    assert f"sanitizer {command} " in answer.out
