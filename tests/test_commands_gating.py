"""``sanitizer gate``: one screen, the files that were asked for, and an exit code that means what it says."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from toy_cli import Answer, Run, runner
from toy_gates import scans_without_looking
from toy_keys import make_keys
from toy_verdicts import write_folder, write_verdict

from sanitizer import pipeline
from sanitizer.errors import SourceError
from sanitizer.record import MANIFEST, SIGNATURE, TABLE

CAT = "cat/0.png"
OUTPUTS = {"sarif": "out.sarif", "junit": "out.xml", "summary": "out.md", "json": "out.json"}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with data and the strictest policy; where the command is run."""
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "data")
    (tmp_path / "policy.toml").write_text("[gate]\n")
    return tmp_path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], place: Path) -> Run:
    """Runs ``sanitizer gate data --policy policy.toml ...`` in that folder."""
    say = runner(monkeypatch, capsys)

    def call(*words: object, source: str = "data", policy: str = "policy.toml") -> Answer:
        return say("gate", source, "--policy", policy, *words)

    return call


def all_outputs() -> list[str]:
    """The words that ask for every file."""
    return [word for name, path in OUTPUTS.items() for word in (f"--{name}", path)]


def test_data_within_the_policy_passes(run: Run, place: Path) -> None:
    """The answer, the counts, where the files lie; nothing else."""
    write_verdict(place / "data", place / "verdict")
    answer = run("--verdict", "verdict", *all_outputs())
    assert answer == Answer(
        0,
        "The data is within the policy.\n20 scanned, 0 unreadable, 0 refused, 0 ignored\n"
        "sarif: out.sarif\njunit: out.xml\nsummary: out.md\njson: out.json\n",
        "",
    )
    assert json.loads((place / "out.json").read_text())["ok"] is True
    assert json.loads((place / "out.sarif").read_text())["runs"][0]["results"] == []
    assert ElementTree.fromstring((place / "out.xml").read_bytes()).get("failures") == "0"
    assert "within the policy" in (place / "out.md").read_text()


def test_data_above_the_policy_fails(run: Run, place: Path) -> None:
    """With what came and what was expected, and every file."""
    write_verdict(place / "data", place / "verdict", {CAT: "planted"})
    answer = run("--verdict", "verdict", *all_outputs())
    assert (answer.code, answer.err) == (1, "")
    assert answer.out.startswith(
        "The data is above the policy.\n20 scanned, 0 unreadable, 0 refused, 0 ignored\n"
        "  flagged: 1 of 20 samples are flagged as planted (5 %), the policy allows 0 %.\n"
    )
    assert json.loads((place / "out.json").read_text())["code"] == 1
    assert len(json.loads((place / "out.sarif").read_text())["runs"][0]["results"]) == 5
    assert ElementTree.fromstring((place / "out.xml").read_bytes()).get("failures") == "3"
    assert "cat/0" in (place / "out.md").read_text()


def test_what_cannot_be_vouched_for_fails_with_files_too(run: Run, place: Path) -> None:
    """A tampered verdict, and no verdict at all."""
    write_verdict(place / "data", place / "verdict")
    (place / "verdict" / TABLE).write_bytes(b"")
    for folder, part in (("verdict", TABLE), ("nowhere", "nowhere")):
        answer = run("--verdict", folder, *all_outputs())
        assert (answer.code, answer.err) == (2, "")
        assert answer.out.startswith("Nothing can vouch for the data.\n  verdict: ")
        assert part in answer.out
        assert json.loads((place / "out.json").read_text())["code"] == 2
        assert json.loads((place / "out.sarif").read_text())["runs"][0]["invocations"][0]["exitCode"] == 2
        assert ElementTree.fromstring((place / "out.xml").read_bytes()).get("errors") == "1"
    assert (place / "out.md").read_text().count("## Dataset gate") == 2


def test_changed_data_is_named(run: Run, place: Path) -> None:
    """On stdout, whatever it is called; it does nothing to the terminal."""
    write_verdict(place / "data", place / "verdict")
    (place / "data" / "cat" / "\x1b[2Jx:skull:.png").write_bytes(b"new")
    answer = run("--verdict", "verdict")
    assert answer.code == 2
    assert "1 added: cat/" in answer.out
    assert all(letter.isprintable() or letter == "\n" for letter in answer.out)


@pytest.fixture
def scanning(monkeypatch: pytest.MonkeyPatch, place: Path) -> list[Any]:
    """Scans that find one planted sample, without looking."""
    return scans_without_looking(monkeypatch)


def test_without_a_verdict_it_scans_with_the_settings(run: Run, place: Path, scanning: list[Any]) -> None:
    """One to one, every one of them; the verdict's place is said."""
    answer = run("--out", "there", "--detectors", "lof, dao", "--max-drop", "0.1", "--image-column", "i",
        "--label-column", "l", "--device", "cpu", "--seed", "7", "--budget", "fast", "--model", "timm:vit",
        "--reference", "net.safetensors", "--trusted", "clean", "--fdr", "0.01", "--store", "none",
        "--engine", "ray", "--decoding", "scaled")  # fmt: skip
    assert (answer.code, answer.err) == (1, "")
    assert answer.out.endswith("verdict: there\n")
    [(source, out, settings)] = scanning
    assert (source, out) == ("data", Path("there"))
    untouched = asdict(pipeline.ScanSettings())
    assert not [name for name, value in asdict(settings).items() if value == untouched[name]]
    assert (settings.detectors, settings.seed) == (("lof", "dao"), 7)


def test_a_scan_goes_nowhere_if_nobody_wants_its_verdict(run: Run, place: Path, scanning: list[Any]) -> None:
    """The answer is the same."""
    before = sorted(place.iterdir())
    assert run().code == 1
    assert sorted(place.iterdir()) == before


@pytest.mark.parametrize(
    "words",
    [
        ["--out", "out"], ["--model", "probe"], ["--reference", "x"], ["--detectors", "auto"], ["--trusted", "clean"],
        ["--max-drop", "0.2"], ["--image-column", "x"], ["--label-column", "x"], ["--device", "cpu"],
        ["--seed", "0"], ["--budget", "fast"], ["--store", "none"], ["--engine", "ray"],
        ["--decoding", "exact"],
    ],
    ids=lambda words: words[0],
)  # fmt: skip
def test_a_setting_of_a_scan_beside_a_verdict_is_refused(run: Run, place: Path, words: list[str]) -> None:
    """Also where it says what would be so anyway: it would be ignored."""
    write_verdict(place / "data", place / "verdict")
    answer = run("--verdict", "verdict", *words)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(f"sanitizer: {words[0]}: ")
    assert "--verdict" in answer.err


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--sarif", "none/out.sarif"], ["--sarif", "folder that exists"]),
        (["--junit", "data"], ["--junit"]),
        (["--json", "data/out.json"], ["lies inside the source"]),
        (["--json", "verdict/out.json"], ["--json", "foreign"]),
        (["--json", "policy.toml"], ["--json", "taken"]),
        (["--json", "x", "--sarif", "./x"], ["taken"]),
        (["--json", "x", "--summary", "x"], ["taken"]),
        (["--nonesuch"], ["--nonesuch"]),
    ],
    ids=lambda words: " ".join(words).replace("/", "_"),
)
def test_a_mistake_is_one_line_and_leaves_nothing(run: Run, place: Path, words: list[str], parts: list[str]) -> None:
    """Before anything is read: the policy and the data stay as they are."""
    write_verdict(place / "data", place / "verdict")
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    answer = run("--verdict", "verdict", *words)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.count("\n") == 1
    for part in parts:
        assert part in answer.err
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before


def test_a_source_that_is_a_file_is_not_overwritten(run: Run, place: Path) -> None:
    """An output beside it is fine."""
    from toy_verdicts import write_parquet

    path = write_parquet(place / "set" / "data.parquet")
    content = path.read_bytes()
    write_verdict(path, place / "verdict")
    refused = run("--verdict", "verdict", "--json", "set/data.parquet", source="set/data.parquet")
    assert (refused.code, path.read_bytes() == content) == (2, True)
    assert run("--verdict", "verdict", "--json", "set/out.json", source="set/data.parquet").code == 0


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[gate]\nmax_flagged = 1\n", "max_flagged_fraction"),
        ("", "[gate]"),
        ("[gate]\nmax_refused = -1\n", "max_refused"),
    ],
)
def test_a_policy_that_cannot_be_meant_is_one_line(run: Run, place: Path, text: str, part: str) -> None:
    """And nothing is read for it."""
    (place / "policy.toml").write_text(text)
    answer = run("--verdict", "verdict")
    assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)
    assert part in answer.err


@pytest.mark.parametrize("error", [RuntimeError("boom"), MemoryError(), SourceError("expected images")])
def test_files_of_an_earlier_run_do_not_outlive_an_accident(
    run: Run, place: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """They would look like the answer to this one."""
    write_verdict(place / "data", place / "verdict")
    assert run("--verdict", "verdict", *all_outputs()).code == 0

    def scan(*given: Any) -> None:
        raise error

    monkeypatch.setattr(pipeline, "scan", scan)
    assert run(*all_outputs()).code == 2
    assert json.loads((place / "out.json").read_text())["code"] == 2
    assert json.loads((place / "out.sarif").read_text())["runs"][0]["invocations"][0]["executionSuccessful"] is False
    assert ElementTree.fromstring((place / "out.xml").read_bytes()).get("errors") == "1"


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], place: Path) -> Run:
    """Runs any command in that folder."""
    return runner(monkeypatch, capsys)


def test_a_verdict_is_signed_and_known_again(run: Run, say: Run, place: Path) -> None:
    """By the flag, by the policy, and by the flag in place of the policy's key."""
    make_keys(place)
    make_keys(place, name="other")
    write_verdict(place / "data", place / "verdict")
    answer = say("sign", "verdict", "--private-key", "key.pem")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines()[0] == "Signed: verdict/manifest.sig"
    assert "--signed-by" in answer.out
    assert run("--verdict", "verdict").code == 0
    assert run("--verdict", "verdict", "--signed-by", "key.pub", *all_outputs()).code == 0
    (place / "policy.toml").write_text('[gate]\nsigned_by = "other.pub"\n')
    assert run("--verdict", "verdict").code == 2
    assert run("--verdict", "verdict", "--signed-by", "key.pub").code == 0


def test_a_verdict_that_is_not_signed_by_the_right_one_fails(run: Run, say: Run, place: Path) -> None:
    """No signature, another key, another manifest, a new unsigned one: exit code 2, and one line."""
    make_keys(place)
    make_keys(place, name="other")
    words = ("--verdict", "verdict", "--signed-by", "key.pub")

    def refused(*given: object) -> str:
        answer = run(*given)
        assert (answer.code, answer.err, answer.out.count("\n")) == (2, "", 2)
        assert answer.out.startswith("Nothing can vouch for the data.\n  signature: Expected ")
        return answer.out

    write_verdict(place / "data", place / "verdict", {CAT: "planted"})
    assert "sanitizer sign" in refused(*words)
    say("sign", "verdict", "--private-key", "key.pem")
    refused("--verdict", "verdict", "--signed-by", "other.pub")
    write_verdict(place / "data", place / "verdict")
    assert MANIFEST in refused(*words)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["sign", "verdict"], ["--private-key"]),
        (["sign", "verdict", "--private-key", "none.pem"], ["private key", "none.pem"]),
        (["sign", "verdict", "--private-key", "policy.toml"], ["private key", "policy.toml"]),
        (["sign", "data", "--private-key", "key.pem"], ["manifest"]),
        (["gate", "data", "--policy", "policy.toml", "--signed-by", "key.pub"], ["--signed-by", "--verdict"]),
        (
            ["gate", "data", "--policy", "policy.toml", "--verdict", "verdict", "--signed-by", "none.pub"],
            ["public key", "none.pub"],
        ),
        (
            ["gate", "data", "--policy", "policy.toml", "--verdict", "verdict", "--signed-by", "k", "--json", "./k"],
            ["--json", "taken"],
        ),
    ],
    ids=lambda words: " ".join(words).replace("/", "_"),
)
def test_a_mistake_about_keys_is_one_line(say: Run, place: Path, words: list[str], parts: list[str]) -> None:
    """It leaves no signature."""
    make_keys(place)
    write_verdict(place / "data", place / "verdict")
    answer = say(*words)
    assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)
    for part in parts:
        assert part in answer.err
    assert not (place / "verdict" / SIGNATURE).exists()


def test_help_names_the_options(run: Run) -> None:
    """As the documentation does."""
    answer = run("--help")
    assert answer.code == 0
    for name in ("--policy", "--verdict", "--sarif", "--junit", "--summary", "--json", "--out", "--signed-by"):
        assert name in answer.out
