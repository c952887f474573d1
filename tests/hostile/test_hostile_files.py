"""Every hostile checkpoint, policy, manifest and command line: understood, or one line that says what came."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sanitizer.actions.manifest import read_manifest
from sanitizer.embed.checkpoint import read_checkpoint
from sanitizer.errors import SanitizerError
from sanitizer.policy import Policy
from tests.hostile.arguments import ARGUMENTS
from tests.hostile.book import Page, state_of
from tests.hostile.census import assert_showable
from tests.hostile.checkpoints import CHECKPOINTS
from tests.hostile.policies import MANIFESTS, POLICIES
from tests.hostile.trees import good_images
from tests.toy_cli import runner


def outcome_of(call: Callable[[], object]) -> str:
    """Whether it could be read; if not, the line about it can be shown on any terminal."""
    try:
        call()
    except SanitizerError as why:
        line = str(why)
    else:
        return "read"
    assert_showable(line)
    return "error"


@pytest.mark.parametrize("page", list(CHECKPOINTS), ids=lambda page: page.name)
def test_a_checkpoint_is_read_whole_or_refused(tmp_path: Path, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing in it is ever run."""
    monkeypatch.chdir(tmp_path)
    path = page.make(tmp_path / "net")
    assert outcome_of(lambda: read_checkpoint(path)) == page.outcome
    assert not list(tmp_path.rglob("canary"))


@pytest.mark.parametrize("page", list(POLICIES), ids=lambda page: page.name)
def test_a_policy_is_understood_or_refused(tmp_path: Path, page: Page) -> None:
    """There is no third way: a key that is not understood would be a limit that does not hold."""
    (tmp_path / "policy.toml").write_bytes(page.make)
    assert outcome_of(lambda: Policy.read(tmp_path / "policy.toml")) == page.outcome


@pytest.mark.parametrize("page", list(MANIFESTS), ids=lambda page: page.name)
def test_a_manifest_is_one_of_ours_or_refused(tmp_path: Path, page: Page) -> None:
    """Every part that is used later has been looked at."""
    (tmp_path / "manifest.json").write_bytes(page.make)
    assert outcome_of(lambda: read_manifest(tmp_path)) == page.outcome


@pytest.mark.parametrize("page", list(ARGUMENTS), ids=lambda page: page.name)
def test_a_mistaken_command_ends_with_2_and_one_line(
    tmp_path: Path, page: Page, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line names what is wrong; no traceback, nothing written, the source as it was."""
    good_images(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    before = state_of(tmp_path)
    places = {"DATA": str(tmp_path / "data"), "OUT": str(tmp_path / "out")}
    words = [word.replace("DATA", places["DATA"]).replace("OUT", places["OUT"]) for word in page.make]
    answer = runner(monkeypatch, capsys)(*words)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("sanitizer: ")
    assert answer.err.count("\n") == 1
    assert answer.err[:-1].isprintable()
    assert "please report" not in answer.err
    assert page.outcome in answer.err
    assert state_of(tmp_path) == before
