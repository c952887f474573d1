"""Policies and manifests that somebody else wrote: each is the content of a file, to be understood or refused."""

from __future__ import annotations

import json
from typing import Any

from sanitizer.actions.manifest import PREDICATE_TYPE, STATEMENT_TYPE
from sanitizer.record import GALLERY, SUMMARY, TABLE
from tests.hostile.book import Book, dice

#: What a file comes to: "read" or "error".
POLICIES: Book[Any] = Book()
MANIFESTS: Book[Any] = Book()

for name, said, outcome in (
    ("empty_gate", "[gate]\n", "read"),
    ("of_nothing", "", "error"),
    ("without_a_gate", "[other]\n", "error"),
    ("two_gates", "[gate]\n[gate]\n", "error"),
    ("gate_that_is_a_number", "gate = 1\n", "error"),
    ("gate_that_is_a_list", "[[gate]]\n", "error"),
    ("unknown_key", "[gate]\nmax_flaged_fraction = 1\n", "error"),
    ("key_of_a_megabyte", f"[gate]\n{'x' * 2**20} = 1\n", "error"),
    ("key_of_escapes", '[gate]\n"\\u001b[2J\\n" = 1\n', "error"),
    ("share_above_one", "[gate]\nmax_flagged_fraction = 1.1\n", "error"),
    ("share_below_zero", "[gate]\nmax_flagged_fraction = -0.1\n", "error"),
    ("share_that_is_nan", "[gate]\nmax_flagged_fraction = nan\n", "error"),
    ("share_that_is_infinite", "[gate]\nmax_flagged_fraction = inf\n", "error"),
    ("share_that_is_true", "[gate]\nmax_flagged_fraction = true\n", "error"),
    ("share_that_is_text", '[gate]\nmax_flagged_fraction = "0"\n', "error"),
    ("share_of_a_thousand_digits", f"[gate]\nmax_flagged_fraction = {'9' * 1000}\n", "error"),
    ("count_of_5000_digits", f"[gate]\nmax_refused = {'9' * 5000}\n", "error"),
    ("count_below_zero", "[gate]\nmax_refused = -1\n", "error"),
    ("count_and_a_half", "[gate]\nmax_refused = 1.5\n", "error"),
    ("fails_on_anything", '[gate]\nfail_on = ["anything"]\n', "error"),
    ("fails_on_a_text", '[gate]\nfail_on = "planted"\n', "error"),
    ("requires_a_number", "[gate]\nrequire_detectors = [1]\n", "error"),
    ("age_of_zero", "[gate]\nmax_age_days = 0\n", "error"),
    ("age_that_is_nan", "[gate]\nmax_age_days = nan\n", "error"),
    ("age_that_is_a_date", "[gate]\nmax_age_days = 1979-05-27\n", "error"),
    ("baseline_with_a_zero", '[gate]\nbaseline = "x\\u0000"\n', "error"),
    ("baseline_of_nothing", '[gate]\nbaseline = ""\n', "error"),
    ("10000_lists_deep", "[gate]\nfail_on = " + "[" * 10_000, "error"),
    ("10000_tables_deep", "[" + "a." * 10_000 + "a]\n", "error"),
    ("that_is_yaml", "gate:\n  max_refused: 1\n", "error"),
    ("that_is_json", '{"gate": {}}', "error"),
    ("that_is_no_text", b"[gate]\n# \xff\xfe", "error"),
    ("of_zeros", bytes(1000), "error"),
    ("of_noise", dice("policy").randbytes(1000), "error"),
    ("with_a_mark_of_order", b"\xef\xbb\xbf[gate]\n", "error"),
    ("that_imports", "[gate]\n__import__ = 'os'\n", "error"),
    ("calibration_unknown", '[gate]\nrequire_calibration = "none"\n', "error"),
    ("key_beside_the_gate", "max_refused = 1\n[gate]\n", "error"),
    ("lone_carriage_returns", "[gate]\rmax_refused = 1\r", "error"),
):
    POLICIES.add(f"policy_{name}", said if isinstance(said, bytes) else said.encode(), outcome)

GOOD: dict[str, Any] = {
    "_type": STATEMENT_TYPE,
    "predicateType": PREDICATE_TYPE,
    "subject": [{"name": "a.png", "digest": {"sha256": "0" * 64}, "annotations": {"label": None, "status": "scanned"}}],
    "predicate": {"verdictDigest": "0", "files": dict.fromkeys((GALLERY, SUMMARY, TABLE), "0"), "unhashed": []},
}


def _said(**changed: Any) -> bytes:
    return json.dumps(GOOD | changed).encode()


def _of_predicate(**changed: Any) -> bytes:
    return _said(predicate=GOOD["predicate"] | changed)


for name, content, outcome in (
    ("as_it_should_be", _said(), "read"),
    ("of_nothing", b"", "error"),
    ("of_null", b"null", "error"),
    ("of_a_number", b"1e999", "error"),
    ("of_a_list", b"[]", "error"),
    ("of_noise", dice("manifest").randbytes(500), "error"),
    ("of_zeros", bytes(500), "error"),
    ("100000_deep", b"[" * 100_000, "error"),
    ("of_5000_digits", b"9" * 5000, "error"),
    ("cut_in_half", _said()[:100], "error"),
    ("of_another_type", _said(_type="x"), "error"),
    ("of_another_predicate", _said(predicateType="https://slsa.dev/x"), "error"),
    ("whose_type_is_escapes", _said(_type="\x1b[2J\n" * 100), "error"),
    ("without_subjects", _said(subject=None), "error"),
    ("whose_subject_is_text", _said(subject="abc"), "error"),
    ("whose_subjects_are_numbers", _said(subject=[1]), "error"),
    ("whose_subject_has_no_digest", _said(subject=[{"name": "a"}]), "error"),
    ("whose_digest_is_a_number", _said(subject=[GOOD["subject"][0] | {"digest": {"sha256": 1}}]), "error"),
    (
        "whose_label_is_a_table",
        _said(subject=[GOOD["subject"][0] | {"annotations": {"status": "scanned", "label": {}}}]),
        "error",
    ),
    ("without_a_predicate", _said(predicate=None), "error"),
    ("whose_verdict_is_a_number", _of_predicate(verdictDigest=1), "error"),
    ("whose_files_are_a_list", _of_predicate(files=[TABLE]), "error"),
    ("whose_files_lie_elsewhere", _of_predicate(files={"../../etc/passwd": "0"}), "error"),
    ("whose_unhashed_are_text", _of_predicate(unhashed="x"), "error"),
    ("with_a_mark_of_order", b"\xef\xbb\xbf" + _said(), "read"),
):
    MANIFESTS.add(f"manifest_{name}", content, outcome)
