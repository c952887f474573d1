"""The gate: within the policy, above it, or nothing to rely on; and never open by mistake."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from toy_gates import CAT, DOG, TOTAL, failed
from toy_verdicts import EACH, pictures, write_folder, write_parquet, write_verdict

from sanitizer import Policy, gate
from sanitizer.outcome import ABOVE, CANNOT_VOUCH, WITHIN, Check, Outcome
from sanitizer.record import MANIFEST, SIGNATURE, WRITTEN, Verdict


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of images."""
    return write_folder(tmp_path / "data")


@pytest.fixture
def held(data: Path, tmp_path: Path) -> Callable[..., Outcome]:
    """The outcome for a verdict with these findings, under a policy with these settings."""

    def judge(flagged: dict[str, str] | None = None, summary: dict[str, Any] | None = None, **policy: Any) -> Outcome:
        write_verdict(data, tmp_path / "verdict", flagged, **(summary or {}))
        return gate(data, Policy(**policy), verdict=tmp_path / "verdict")

    return judge


def test_clean_and_untouched_data_passes(held: Callable[..., Outcome]) -> None:
    """With nothing to say against it, and every figure."""
    outcome = held()
    assert (outcome.code, outcome.ok, outcome.reasons, outcome.flagged) == (WITHIN, True, (), 0)
    assert outcome.counts == {"scanned": TOTAL, "unreadable": 0, "refused": 0, "ignored": 0}
    assert [(one.name, one.size, one.flagged) for one in outcome.classes] == [("cat", EACH, 0), ("dog", EACH, 0)]
    assert [check.name for check in outcome.checks] == [
        "verdict", "data", "consistent", "complete", "samples", "unreadable", "refused", "flagged",
        "flagged in a class",
    ]  # fmt: skip
    assert outcome.verdict is not None
    assert outcome.digest == outcome.verdict.digest


def test_one_flagged_sample_is_too_many(held: Callable[..., Outcome]) -> None:
    """Said with what came and what is allowed, for the set and for the class."""
    outcome = held({CAT: "planted"})
    assert (outcome.code, outcome.ok, outcome.flagged) == (ABOVE, False, 1)
    assert failed(outcome) == ["flagged", "flagged in a class"]
    assert outcome.reasons == (
        "1 of 20 samples are flagged as planted (5 %), the policy allows 0 %.",
        "In 1 of 2 classes more is flagged than the 0 % that the policy allows: 'cat' (1 of 10).",
    )
    assert outcome.classes[0].above
    assert not outcome.classes[1].above


@pytest.mark.parametrize(
    ("flagged", "whole", "each", "names"),
    [
        (1, 0.05, 0.1, []),  # exactly as much as is allowed
        (1, 0.0499, 0.1, ["flagged"]),
        (1, 0.05, 0.0999, ["flagged in a class"]),
        (6, 0.3, 0.6, []),
        (6, 0.3, 0.5, ["flagged in a class"]),
        (EACH, 1, 1, []),
    ],
)
def test_the_limits_hold_what_they_say(
    held: Callable[..., Outcome], flagged: int, whole: float, each: float, names: list[str]
) -> None:
    """For the whole set and for one class, up to the last sample."""
    found = {f"cat/{number}.png": "planted" for number in range(flagged)}
    outcome = held(found, max_flagged_fraction=whole, max_flagged_fraction_per_class=each)
    assert failed(outcome) == names
    assert outcome.code == (ABOVE if names else WITHIN)


@pytest.mark.parametrize(
    ("kind", "fail_on", "code"),
    [
        ("label", ("planted",), WITHIN),
        ("label", ("label",), ABOVE),
        ("label", ("planted", "label"), ABOVE),
        ("planted", ("label",), WITHIN),
        ("planted", (), WITHIN),
    ],
)
def test_only_what_the_policy_names_is_counted(
    held: Callable[..., Outcome], kind: str, fail_on: tuple[str, ...], code: int
) -> None:
    """Labels in doubt are no poison, unless the user wants them to be."""
    assert held({CAT: kind}, fail_on=fail_on).code == code


def test_unreadable_items_leave_a_doubt_and_hostile_ones_none(data: Path, held: Callable[..., Outcome]) -> None:
    """Above the limit the first is 2 and the second 1; within, neither."""
    (data / "cat" / "cut.png").write_bytes(pictures()[CAT][:40])
    outcome = held()
    assert (outcome.code, failed(outcome)) == (CANNOT_VOUCH, ["unreadable"])
    assert outcome.reasons == ("1 of 21 items are unreadable (4.762 %), the policy allows 0 %.",)
    assert held(max_unreadable_fraction=1 / 21).ok
    (data / "cat" / "out.png").symlink_to("/etc/hostname")
    outcome = held(max_unreadable_fraction=0.1)
    assert (outcome.code, failed(outcome)) == (ABOVE, ["refused"])
    assert held(max_unreadable_fraction=0.1, max_refused=1).ok


def test_what_cannot_be_vouched_for_outweighs_what_is_above(data: Path, held: Callable[..., Outcome]) -> None:
    """And is said first."""
    (data / "cat" / "cut.png").write_bytes(b"")
    outcome = held({CAT: "planted"})
    assert outcome.code == CANNOT_VOUCH
    assert failed(outcome) == ["unreadable", "flagged", "flagged in a class"]


@pytest.mark.parametrize(
    ("summary", "policy", "name", "part"),
    [
        ({"incomplete": ["detector x failed"]}, {}, "complete", "detector x failed"),
        ({}, {"require_detectors": ("lof", "spectral")}, "detectors", "lof"),
        ({}, {"require_detectors": ("loss",)}, "detectors", "loss"),  # it was asked, and could not be run
        ({}, {"require_calibration": "trusted"}, "calibration", "'self'"),
        ({}, {"max_age_days": 1e-9}, "age", "days old"),
    ],
)
def test_a_scan_that_is_not_the_one_asked_for_vouches_for_nothing(
    held: Callable[..., Outcome], summary: dict[str, Any], policy: dict[str, Any], name: str, part: str
) -> None:
    """Incomplete, without a detector, otherwise calibrated, too old."""
    outcome = held(None, summary, **policy)
    assert (outcome.code, failed(outcome)) == (CANNOT_VOUCH, [name])
    assert part in outcome.reasons[0]


def test_what_is_asked_for_and_there_is_fine(held: Callable[..., Outcome]) -> None:
    """The same demands, met."""
    assert held(require_detectors=("spectral",), require_calibration="self", max_age_days=1).ok


def test_age_is_that_of_the_manifest(data: Path, tmp_path: Path) -> None:
    """Too old, young enough, or from the future, which is no age at all."""
    folder, policy = tmp_path / "verdict", Policy(max_age_days=2)
    write_verdict(data, folder)
    for days, code in ((1.9, WITHIN), (2.1, CANNOT_VOUCH), (-0.1, CANNOT_VOUCH)):
        moment = time.time() - days * 24 * 60 * 60
        os.utime(folder / MANIFEST, (moment, moment))
        assert gate(data, policy, verdict=folder).code == code
    assert "future" in gate(data, policy, verdict=folder).reasons[0]


def test_nothing_scanned_is_nothing_vouched_for(data: Path, tmp_path: Path) -> None:
    """Whatever else the policy allows."""
    for name in pictures():
        (data / name).write_bytes(b"no image")
    write_verdict(data, tmp_path / "verdict")
    outcome = gate(data, Policy(max_unreadable_fraction=1), verdict=tmp_path / "verdict")
    assert (outcome.code, failed(outcome)) == (CANNOT_VOUCH, ["samples"])


def test_a_baseline_excuses_what_it_knows(data: Path, tmp_path: Path) -> None:
    """By content and label, once for each finding: not more copies of it, nor the same under another label."""
    earlier, folder = tmp_path / "earlier", tmp_path / "verdict"
    write_verdict(data, earlier, {CAT: "planted"})
    policy = Policy(baseline=earlier)
    write_verdict(data, folder, {CAT: "planted"})
    outcome = gate(data, policy, verdict=folder)
    assert (outcome.code, outcome.flagged, outcome.known) == (WITHIN, 0, 1)
    write_verdict(data, folder, {CAT: "planted", DOG: "planted"})
    outcome = gate(data, policy, verdict=folder)
    assert (outcome.code, outcome.flagged, outcome.known) == (ABOVE, 1, 1)
    assert [one.name for one in outcome.classes if one.above] == ["dog"]

    shutil.copy(data / CAT, data / "cat" / "copy.png")
    write_verdict(data, folder, {CAT: "planted", "cat/copy.png": "planted"})
    assert gate(data, policy, verdict=folder).flagged == 1
    (data / "cat" / "copy.png").rename(data / "dog" / "copy.png")
    write_verdict(data, folder, {CAT: "planted", "dog/copy.png": "planted"})
    outcome = gate(data, policy, verdict=folder)
    assert [one.name for one in outcome.classes if one.above] == ["dog"]


def test_a_baseline_that_was_edited_or_is_gone_excuses_nothing(data: Path, tmp_path: Path) -> None:
    """The gate cannot vouch, even if nothing was found."""
    earlier, folder = tmp_path / "earlier", tmp_path / "verdict"
    write_verdict(data, folder)
    assert gate(data, Policy(baseline=earlier), verdict=folder).code == CANNOT_VOUCH
    write_verdict(data, earlier, {CAT: "planted"})
    assert gate(data, Policy(baseline=earlier), verdict=folder).ok
    forged = write_verdict(data, tmp_path / "forged", dict.fromkeys(pictures(), "planted"))
    forged.write(earlier)
    outcome = gate(data, Policy(baseline=earlier), verdict=folder)
    assert outcome.code == CANNOT_VOUCH
    assert "earlier" in outcome.reasons[0]


def test_the_columns_that_were_scanned_are_compared(tmp_path: Path) -> None:
    """They are in the verdict, and need not be named again."""
    import pyarrow.parquet as pq

    path = write_parquet(tmp_path / "data.parquet")
    table = pq.read_table(path)
    parameters = {"image_column": "photo", "label_column": "kind"}
    write_verdict(path, tmp_path / "verdict", parameters=parameters)
    pq.write_table(table.rename_columns(["photo", "kind"]).append_column("other", table["label"]), path)
    assert gate(path, verdict=tmp_path / "verdict").ok


def test_a_source_that_is_gone_is_nothing_to_train_on(data: Path, tmp_path: Path) -> None:
    """The outcome says so, and no error escapes."""
    write_verdict(data, tmp_path / "verdict")
    outcome = gate(tmp_path / "gone", verdict=tmp_path / "verdict")
    assert outcome.code == CANNOT_VOUCH
    assert "does not exist" in outcome.reasons[0]


def test_a_policy_may_be_a_file(data: Path, tmp_path: Path) -> None:
    """By its path."""
    write_verdict(data, tmp_path / "verdict", {CAT: "planted"})
    (tmp_path / "p.toml").write_text("[gate]\nmax_flagged_fraction = 0.1\nmax_flagged_fraction_per_class = 0.2\n")
    assert gate(data, tmp_path / "p.toml", verdict=tmp_path / "verdict").ok
    assert not gate(data, verdict=tmp_path / "verdict").ok


def test_an_outcome_of_nothing_is_not_ok() -> None:
    """Whoever makes one without a verdict, or without a check, has looked at nothing."""
    passed = Check("x", True, "fine")
    verdict = Verdict(pa.table({}), {})
    assert Outcome(Policy(), (passed,)).code == CANNOT_VOUCH
    assert Outcome(Policy(), (), verdict).code == CANNOT_VOUCH
    assert Outcome(Policy(), (passed,), verdict).ok
    assert Outcome(Policy(), (passed, Check("y", False, "no", ABOVE)), verdict).code == ABOVE


def test_the_outcome_as_a_dict_is_json(data: Path, tmp_path: Path, held: Callable[..., Outcome]) -> None:
    """With the answer, the checks, the figures and the policy."""
    write_verdict(data, tmp_path / "earlier")
    said = json.loads(json.dumps(held({CAT: "planted"}, baseline=tmp_path / "earlier").as_dict()))
    assert (said["code"], said["ok"], said["flagged"]) == (ABOVE, False, 1)
    assert said["policy"]["baseline"] == str(tmp_path / "earlier")
    assert {"name": "cat", "size": EACH, "flagged": 1, "above": True, "reason": "two groups"} in said["classes"]
    assert [check["name"] for check in said["checks"] if not check["passed"]] == ["flagged", "flagged in a class"]


ORDERS = [
    "from sanitizer import gate",
    "import sanitizer; gate = sanitizer.gate",
    "import sanitizer.gate; gate = sanitizer.gate",
    "from sanitizer.gate import gate",
    "import sanitizer.gate as gate",
    "from sanitizer.gate import Outcome; from sanitizer import gate",
    "import importlib; importlib.import_module('sanitizer.gate'); from sanitizer import gate",
    "from sanitizer import gate as first; import sanitizer.gate; gate = sanitizer.gate; assert first is gate",
    "from sanitizer.cli import app; import sanitizer; gate = sanitizer.gate",
    "from sanitizer import *",
]


def test_the_function_is_found_in_every_order_of_imports() -> None:
    """``sanitizer.gate`` is the function, though its module has the same name."""
    code = f"""
import os, pickle, types
import jinja2, pyarrow.compute, pyarrow.parquet, typer  # not ours: loaded once, not ten times
for order in {ORDERS!r}:
    child = os.fork()
    if not child:
        code = 1
        try:
            exec(order)
            fine = isinstance(gate, types.FunctionType) and gate.__module__ == "sanitizer.gate"
            code = 0 if fine and pickle.loads(pickle.dumps(gate)) is gate else 1
        finally:
            os._exit(code)
    assert not os.waitpid(child, 0)[1], order
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_other_modules_of_the_package_are_found_as_ever() -> None:
    """Only a name of ours that a module would hide is kept."""
    import sanitizer

    assert importlib.import_module("sanitizer.policy") is sanitizer.policy
    assert sanitizer.Policy is Policy


def test_what_may_lie_in_a_verdict_folder_is_what_a_scan_writes() -> None:
    """And what signs it: neither the gate nor the pipeline has names of its own for them."""
    for module in ("sanitizer.gate", "sanitizer.pipeline"):
        assert WRITTEN | {SIGNATURE} == importlib.import_module(module).OWN_FILES


def test_a_baseline_excuses_nothing_that_nobody_could_read(data: Path, tmp_path: Path) -> None:
    """A hostile item may be another one each time, whatever it is called."""
    (data / "cat" / "out.png").symlink_to("/etc/hostname")
    for name in ("earlier", "verdict"):
        write_verdict(data, tmp_path / name)
    outcome = gate(data, Policy(baseline=tmp_path / "earlier"), verdict=tmp_path / "verdict")
    assert (outcome.code, failed(outcome)) == (ABOVE, ["refused"])
