"""SARIF 2.1.0: what a gate found, for code scanning; the worst findings and one summary a class, never everything."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc

from sanitizer.actions.report import brief, shown
from sanitizer.outcome import CANNOT_VOUCH, Outcome
from sanitizer.sources.base import Status, digest_of

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
#: As many findings as code scanning shows; it takes 25,000 results and 10 MB. Fewer, if their names are that long.
MAX_FINDINGS, MAX_FINDINGS_BYTES = 5_000, 7_000_000
MAX_CLASSES, MAX_CLASSES_BYTES = 2_000, 2_000_000
MAX_URI, MAX_NAME, MAX_REASON = 400, 80, 200  # bytes of an address, characters of a name and of a reason

#: An image has no lines, and the standard asks for none; code scanning and DefectDojo refuse a place without.
WHOLE_FILE = {"startLine": 1, "startColumn": 1, "endLine": 1, "endColumn": 1}

CLASS_SUMMARY, GATE = "class-summary", "gate"
#: Rule -> level, and what it is about.
RULES = {
    "planted": ("error", "A sample that looks planted to make a model misbehave."),
    "label": ("warning", "A sample whose label looks wrong."),
    "unreadable": ("warning", "An item that claims to be a sample and cannot be read."),
    "refused": ("error", "An item that is hostile to whoever reads it."),
    CLASS_SUMMARY: ("warning", "How much of a class is flagged."),
    GATE: ("error", "A check of the gate that did not pass."),
}
#: Which findings come first where not all of them fit.
_WORST_FIRST = ("planted", str(Status.REFUSED), "label", str(Status.UNREADABLE))

_ROW = re.compile(r"(?P<file>.*)#(?P<row>\d+)", re.DOTALL)
_MEMBER = re.compile(r"(?P<file>.*?\.tar[^/#]*)#(?P<member>.+)", re.DOTALL | re.IGNORECASE)

Result = dict[str, Any]


def build_sarif(outcome: Outcome, base: str = "") -> bytes:
    """The log of one run; a gate that cannot vouch is a run that failed, never one without findings.

    ``base``: the folder of the source as its consumer sees it: code scanning looks below the root of a repository.
    """
    findings = _fitting(_findings(outcome), MAX_FINDINGS_BYTES)
    results = [*_gate_results(outcome), *findings, *_fitting(_class_results(outcome), MAX_CLASSES_BYTES)]
    _below(base, results)
    summary = outcome.verdict.summary if outcome.verdict else {}
    said = [{"level": "error", "message": _message(check.said)} for check in outcome.failed]
    run = {
        "tool": {
            "driver": {
                "name": "dataset-sanitizer",
                "version": shown(summary.get("version", "")),
                "rules": [_rule(name) for name in RULES],
            }
        },
        "invocations": [
            {
                "executionSuccessful": outcome.code != CANNOT_VOUCH,
                "exitCode": outcome.code,
                "toolExecutionNotifications": said,
            }
        ],
        "results": results,
        "properties": {
            "answer": outcome.answer,
            "verdictDigest": shown(outcome.digest),
            "counts": dict(outcome.counts),
        },
    }
    return _written({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]})


def address_of(name: str) -> tuple[str, dict[str, Any]]:
    """The file that an item lies in, as a relative URI of bounded length, and where in that file.

    >>> address_of("cat/it is #1.png")
    ('cat/it%20is%20%231.png', {})
    >>> address_of("train/0.parquet#17")
    ('train/0.parquet', {'row': 17})
    >>> address_of("a.tar#x/1.png")
    ('a.tar', {'member': 'x/1.png'})
    """
    inside: dict[str, Any] = {}
    if found := _MEMBER.fullmatch(name):
        name, inside = found["file"], {"member": brief(shown(found["member"]), MAX_NAME)}
    elif found := _ROW.fullmatch(name):
        name, inside = found["file"], {"row": int(found["row"][:18])}
    parts = [part for part in name.split("/") if part not in ("", ".", "..")]  # never out of the source
    uri = quote("/".join(parts).encode("utf-8", "surrogatepass"), safe="/")
    if len(uri) > MAX_URI:
        uri, inside = re.sub("%.?$", "", uri[:MAX_URI]), inside | {"cut": True}
    return uri or ".", inside  # rows of a set in memory lie in no file


def _below(base: str, results: Iterable[Result]) -> None:
    """Addresses within the source become addresses from where the source lies."""
    folder = address_of(base)[0]
    for location in (place["physicalLocation"]["artifactLocation"] for one in results for place in one["locations"]):
        if folder != ".":
            location["uri"] = folder if location["uri"] == "." else f"{folder}/{location['uri']}"


def _written(part: Any) -> bytes:
    return json.dumps(part, ensure_ascii=False, separators=(",", ":")).encode()


def _fitting(results: Iterable[Result], most: int) -> Iterator[Result]:
    """Those that fit into a number of bytes."""
    for result in results:
        most -= len(_written(result)) + 1
        if most < 0:
            return
        yield result


def _rule(name: str) -> dict[str, Any]:
    level, about = RULES[name]
    return {"id": name, "shortDescription": {"text": about}, "defaultConfiguration": {"level": level}}


def _result(rule: str, text: str, uri: str, fingerprint: str, properties: dict[str, Any]) -> Result:
    place = {"physicalLocation": {"artifactLocation": {"uri": uri}, "region": WHOLE_FILE}}
    return {
        "ruleId": rule,
        "ruleIndex": list(RULES).index(rule),
        "level": RULES[rule][0],
        "message": _message(text),
        "locations": [place],
        "partialFingerprints": {"contentDigest/v1": fingerprint},
        **({"properties": properties} if properties else {}),
    }


def _message(text: str) -> dict[str, str]:
    """Text in which nothing is a link: names come from the data."""
    return {"text": re.sub(r"([\[\]\\])", r"\\\1", shown(text))}


def _gate_results(outcome: Outcome) -> Iterator[Result]:
    for check in outcome.failed:
        yield _result(GATE, f"{check.name}: {check.said}", ".", digest_of(check.name.encode()), {})


def _findings(outcome: Outcome) -> Iterator[Result]:
    """The worst of what was found, up to ``MAX_FINDINGS``."""
    room = MAX_FINDINGS
    for rule in _WORST_FIRST if outcome.verdict else ():
        for row in _worst(outcome, rule, room).to_pylist():
            room -= 1
            uri, inside = address_of(row["id"])
            reason = brief((row["reasons"] or ["no reason was kept"])[0], MAX_REASON)
            label = f" (class {brief(row['label_name'], MAX_NAME)})" if row["label_name"] is not None else ""
            text = f"{brief(row['id'], MAX_NAME)}{label}: {reason}"
            fingerprint = row["digest"] or digest_of(row["id"].encode("utf-8", "surrogatepass"))
            yield _result(rule, text, uri, fingerprint, inside)


def _worst(outcome: Outcome, rule: str, most: int) -> pa.Table:
    assert outcome.verdict is not None
    table = outcome.verdict.table
    column = table["status"] if rule in tuple(Status) else table["kind"]
    found = table.filter(pc.equal(column, rule)).sort_by([("score", "descending"), ("id", "ascending")])
    return found.select(["id", "digest", "label_name", "reasons"]).slice(0, most)


def _class_results(outcome: Outcome) -> Iterator[Result]:
    """One summary for each class that has something flagged or said of it."""
    for one in outcome.classes[:MAX_CLASSES]:
        if one.flagged or one.reason:
            name = brief(one.name, MAX_NAME)
            text = f"class {name}: {one.flagged:,} of {one.size:,} samples are flagged. {brief(one.reason, MAX_REASON)}"
            uri, _ = address_of(one.name)
            properties = {"class": shown(name), "size": one.size, "flagged": one.flagged, "above": one.above}
            yield _result(CLASS_SUMMARY, text, uri, digest_of(one.name.encode("utf-8", "surrogatepass")), properties)
