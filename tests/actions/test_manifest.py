"""What the manifest says, and which manifests are turned away."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from made_up import flagged, make_verdict, row, unread

from sanitizer.actions.manifest import FILES, canonical, read_manifest
from sanitizer.errors import VerdictError
from sanitizer.record import MANIFEST
from sanitizer.sources.base import digest_of

ROWS = [row("cat/b"), flagged("cat/a"), row("dog/c", "dog"), row("flat", None), unread("x.png"), unread("y", "refused")]


def test_every_item_read_is_a_subject_and_the_rest_are_listed(write_folder: Callable[..., Path]) -> None:
    """Nothing that was found is missing from the statement."""
    statement = read_manifest(write_folder(make_verdict(ROWS)))
    assert [entry["name"] for entry in statement["subject"]] == ["cat/a", "cat/b", "dog/c", "flat"]
    assert statement["subject"][2] == {
        "name": "dog/c",
        "digest": {"sha256": digest_of(b"dog/c")},
        "annotations": {"label": "dog", "status": "scanned"},
    }
    assert statement["subject"][3]["annotations"]["label"] is None
    assert statement["predicate"]["unhashed"] == [
        {"name": "x.png", "status": "unreadable"},
        {"name": "y", "status": "refused"},
    ]


def test_the_predicate_vouches_for_the_other_files(write_folder: Callable[..., Path]) -> None:
    """The digests are those of the files as they lie there, and of the verdict."""
    verdict = make_verdict(ROWS)
    folder = write_folder(verdict)
    predicate = read_manifest(folder)["predicate"]
    assert predicate["files"] == {name: digest_of((folder / name).read_bytes()) for name in FILES}
    assert predicate["verdictDigest"] == verdict.digest
    assert predicate["counts"] == {"scanned": 4, "unreadable": 1, "refused": 1, "ignored": 0}


def test_equal_verdicts_give_equal_bytes(write_folder: Callable[..., Path]) -> None:
    """The order of the table's rows does not show, and one subject takes one line."""
    first = (write_folder(make_verdict(ROWS)) / MANIFEST).read_bytes()
    second = (write_folder(make_verdict(ROWS[::-1])) / MANIFEST).read_bytes()
    subjects = [line for line in first.splitlines() if line.startswith(b'{"annotations"')]
    assert len(subjects) == 4
    assert json.loads(first)["subject"] == json.loads(second)["subject"]
    assert canonical(json.loads(first)) == first


def test_an_empty_scan_has_a_manifest(write_folder: Callable[..., Path]) -> None:
    """A scan that found nothing at all is still on record."""
    assert read_manifest(write_folder(make_verdict([])))["subject"] == []


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"\xff\xfe",
        b"[]",
        b"3",
        b"{}",
        b'{"_type": "https://in-toto.io/Statement/v1"}',
        b'{"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://slsa.dev/provenance/v1"}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_manifest_of_ours_is_one_line(tmp_path: Path, content: bytes | None) -> None:
    """Missing, broken and foreign files end in one line that says what to do."""
    if content is not None:
        (tmp_path / MANIFEST).write_bytes(content)
    with pytest.raises(VerdictError, match=r"^expected the manifest of a scan at .*; got: .+; run `sanitizer scan`.*$"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("damage", ["subject", "digest", "annotations", "files", "verdictDigest", "unhashed"])
def test_a_manifest_with_a_broken_part_is_turned_away(write_folder: Callable[..., Path], damage: str) -> None:
    """No later step meets a manifest that lacks what it needs."""
    folder = write_folder(make_verdict(ROWS))
    statement = read_manifest(folder)
    holder = {"subject": statement, "digest": statement["subject"][0], "annotations": statement["subject"][0]}
    holder.get(damage, statement["predicate"])[damage] = 3
    (folder / MANIFEST).write_text(json.dumps(statement))
    with pytest.raises(VerdictError):
        read_manifest(folder)
