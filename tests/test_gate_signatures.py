"""The gate and signatures: a policy may name the key that a verdict has to be signed with."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

import pytest
from toy_gates import CAT, failed
from toy_keys import make_keys
from toy_verdicts import write_folder, write_verdict

from sanitizer import Policy, gate, pipeline
from sanitizer.actions.signing import sign
from sanitizer.outcome import ABOVE, CANNOT_VOUCH, WITHIN
from sanitizer.record import SIGNATURE


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of images."""
    return write_folder(tmp_path / "data")


def test_a_signature_is_asked_for_by_the_policy(data: Path, tmp_path: Path) -> None:
    """That of the key's holder opens the gate; without a demand nobody looks at it, and it is not foreign."""
    folder, (private, public) = tmp_path / "verdict", make_keys(tmp_path)
    write_verdict(data, folder)
    outcome = gate(data, Policy(signed_by=public), verdict=folder)
    assert (outcome.code, failed(outcome), outcome.verdict) == (CANNOT_VOUCH, ["signature"], None)
    assert "sanitizer sign" in outcome.reasons[0]
    sign(folder, private)
    outcome = gate(data, Policy(signed_by=public), verdict=folder)
    assert (outcome.code, outcome.checks[0].said) == (WITHIN, "The manifest is signed with the key 'key.pub'.")
    assert json.loads(json.dumps(outcome.as_dict()))["policy"]["signed_by"] == str(public)
    outcome = gate(data, Policy(signed_by=make_keys(tmp_path, name="other")[1]), verdict=folder)
    assert (outcome.code, failed(outcome)) == (CANNOT_VOUCH, ["signature"])
    (folder / SIGNATURE).write_text("anything")
    assert gate(data, verdict=folder).ok


def test_a_verdict_made_anew_as_a_whole_is_refused_by_its_signature(data: Path, tmp_path: Path) -> None:
    """What nothing else can tell from an honest scan: data, table, summary and manifest all agree."""
    folder, (private, public) = tmp_path / "verdict", make_keys(tmp_path)
    write_verdict(data, folder, {CAT: "planted"})
    sign(folder, private)
    policy = Policy(signed_by=public)
    assert gate(data, policy, verdict=folder).code == ABOVE
    write_verdict(data, folder)
    assert gate(data, verdict=folder).ok
    outcome = gate(data, policy, verdict=folder)
    assert (outcome.code, failed(outcome)) == (CANNOT_VOUCH, ["signature"])


def test_nothing_is_read_before_the_signature(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the manifest of a stranger nor his table; a pipe in place of the signature is not waited for either."""
    folder, (_, public) = tmp_path / "verdict", make_keys(tmp_path)
    write_verdict(data, folder)
    module = importlib.import_module("sanitizer.gate")
    for name in ("read_manifest", "verify", "_judged"):
        monkeypatch.setattr(module, name, None)
    assert failed(gate(data, Policy(signed_by=public), verdict=folder)) == ["signature"]
    os.mkfifo(folder / SIGNATURE)
    assert failed(gate(data, Policy(signed_by=public), verdict=folder)) == ["verdict"]


def test_without_the_extra_a_demand_for_a_signature_is_not_met(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason says what to install."""
    write_verdict(data, tmp_path / "verdict")
    monkeypatch.setitem(sys.modules, "model_signing", None)
    outcome = gate(data, Policy(signed_by=tmp_path / "key.pub"), verdict=tmp_path / "verdict")
    assert (outcome.code, failed(outcome)) == (CANNOT_VOUCH, ["signature"])
    assert "pip install 'dataset-sanitizer[signing]'" in outcome.reasons[0]


def test_a_scan_of_its_own_needs_no_signature(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else has had the verdict in his hands."""
    monkeypatch.setattr(pipeline, "scan", lambda source, out, *given: write_verdict(Path(source), out))
    assert gate(data, Policy(signed_by=tmp_path / "none.pub")).ok
