"""The policy: read strictly, so that a slip of the pen never opens the gate."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from sanitizer.errors import UsageError
from sanitizer.policy import Policy

EVERYTHING = """
[gate]
max_flagged_fraction = 0.01
max_flagged_fraction_per_class = 0.05
max_unreadable_fraction = 1
max_refused = 3
fail_on = ["planted", "label"]
require_detectors = ["lof", "spectral"]
require_calibration = "trusted"
max_age_days = 30
baseline = "earlier/verdict"
signed_by = "scan.pub"
"""

SHARES = ("max_flagged_fraction", "max_flagged_fraction_per_class", "max_unreadable_fraction")


def written(folder: Path, text: str, name: str = "policy.toml") -> Path:
    """The policy file."""
    path = folder / name
    path.write_text(text)
    return path


def test_every_setting_is_read(tmp_path: Path) -> None:
    """Each of them, and none stays as it would be if left out."""
    policy = Policy.read(written(tmp_path, EVERYTHING))
    assert policy == Policy(
        max_flagged_fraction=0.01, max_flagged_fraction_per_class=0.05, max_unreadable_fraction=1, max_refused=3,
        fail_on=("planted", "label"), require_detectors=("lof", "spectral"), require_calibration="trusted",
        max_age_days=30, baseline=tmp_path / "earlier" / "verdict", signed_by=tmp_path / "scan.pub",
    )  # fmt: skip
    untouched = Policy()
    same = [f.name for f in dataclasses.fields(Policy) if getattr(policy, f.name) == getattr(untouched, f.name)]
    assert not same


def test_an_empty_table_lets_nothing_through(tmp_path: Path) -> None:
    """What is not said is as strict as can be."""
    policy = Policy.read(written(tmp_path, "[gate]\n"))
    assert policy == Policy()
    assert (policy.max_flagged_fraction, policy.max_refused, policy.fail_on) == (0.0, 0, ("planted",))


def test_a_pyproject_has_it_among_the_tools(tmp_path: Path) -> None:
    """Beside everything else that such a file holds."""
    text = '[project]\nname = "x"\n[tool.sanitizer.gate]\nmax_refused = 1\n[gate]\nmax_refused = 9\n'
    assert Policy.read(written(tmp_path, text, "pyproject.toml")).max_refused == 1


@pytest.mark.parametrize("name", ["baseline", "signed_by"])
def test_a_file_is_found_from_the_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Wherever the gate is run; an absolute path stays as it is."""
    (tmp_path / "ci").mkdir()
    monkeypatch.chdir(tmp_path)
    for value, place in (("b", "ci/b"), ("/b", "/b")):
        written(tmp_path / "ci", f'[gate]\n{name} = "{value}"\n')
        assert getattr(Policy.read("ci/policy.toml"), name) == Path(place)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name in SHARES for value in ("1.1", "-0.1", "nan", "inf", "true", '"0"', "[]")),
        *(("max_refused", value) for value in ("-1", "0.5", "1.0", "true", '"1"', "inf")),
        *(("fail_on", value) for value in ('"planted"', '["poison"]', "[1]", "true", '["planted", ""]', '{a = 1}')),
        *(("require_detectors", value) for value in ('"lof"', '[""]', "[1]", "1", "true")),
        *(("require_calibration", value) for value in ('"Self"', '""', "1", '["self"]', "true")),
        *(("max_age_days", value) for value in ("0", "-1", "nan", "inf", "true", '"7"', "1979-05-27")),
        *((name, value) for name in ("baseline", "signed_by") for value in ('""', "1", "true", '["a"]', '"a\\u0000b"')),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(tmp_path: Path, name: str, value: str) -> None:
    """In one line that names the key, what was expected and what came; so a policy made in Python."""
    with pytest.raises(UsageError, match=rf"policy\.toml.*policy: {name}: expected .+, got .+") as caught:
        Policy.read(written(tmp_path, f"[gate]\n{name} = {value}\n"))
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match=f"^policy: {name}: expected"):
        Policy(**{name: {"nan": float("nan"), "inf": float("inf")}.get(value, object())})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[gate]\nmax_flaged_fraction = 0.1\n", ["'max_flaged_fraction'", "did you mean max_flagged_fraction?"]),
        ("[gate]\nfail-on = []\n", ["'fail-on'", "did you mean fail_on?"]),
        ("[gate]\nqqq = 1\n", ["'qqq'", "max_age_days"]),
        ("[gate]\n[gate.sub]\nx = 1\n", ["'sub'"]),
        ("max_refused = 5\n[gate]\n", ["'max_refused'", "below [gate]"]),
        ("[gates]\nmax_refused = 5\n", ["'gates'"]),
        ("", ["[gate]", "got none"]),
        ("gate = 3\n", ["[gate]", "got 3"]),
        ("[gate]\nmax_refused = \n", ["expected TOML"]),
        ("[gate]\nmax_refused = 1\nmax_refused = 2\n", ["expected TOML"]),
        ("[gate]\nx = " + "[" * 5000, ["expected TOML"]),
    ],
)
def test_what_is_no_policy_is_one_line(tmp_path: Path, text: str, parts: list[str]) -> None:
    """It says what is wrong and where."""
    with pytest.raises(UsageError) as caught:
        Policy.read(written(tmp_path, text))
    said = str(caught.value)
    assert "\n" not in said
    assert len(said) < 500
    for part in ("policy", *parts):
        assert part in said


@pytest.mark.parametrize("content", [None, b"\xff\xfe[gate]", b"\x00"])
def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, content: bytes | None) -> None:
    """Missing, or not text."""
    if content is not None:
        (tmp_path / "policy.toml").write_bytes(content)
    with pytest.raises(UsageError, match="--policy: expected"):
        Policy.read(tmp_path / "policy.toml")


def test_a_pyproject_without_the_table_is_refused(tmp_path: Path) -> None:
    """A gate without a policy is a mistake, also where a tool's table is something else."""
    for text in ("[project]\n", "tool = 3\n", "[tool]\nsanitizer = 3\n", "[tool.sanitizer]\ngate = []\n"):
        with pytest.raises(UsageError, match=r"tool\.sanitizer\.gate"):
            Policy.read(written(tmp_path, text, "pyproject.toml"))


def test_a_policy_made_in_python_is_fixed() -> None:
    """Lists become tuples, each name once; nothing can be changed afterwards."""
    policy = Policy(fail_on=["label", "label"], baseline="b")  # type: ignore[arg-type]
    assert (policy.fail_on, policy.baseline) == (("label",), Path("b"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        policy.max_refused = 7  # type: ignore[misc]


def test_any_unknown_value_is_quoted_briefly(tmp_path: Path) -> None:
    """A value of a megabyte does not fill the terminal."""
    with pytest.raises(UsageError) as caught:
        Policy.read(written(tmp_path, f'[gate]\nrequire_calibration = "{"x" * 10**6}"\n'))
    assert len(str(caught.value)) < 500
