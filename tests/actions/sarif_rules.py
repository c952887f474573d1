"""The rules of SARIF 2.1.0 for the objects that we write: what each must have, may have, and holds.

Taken from the standard (section 3), for there is no network in tests. What is not in the table is refused, so that
whoever writes a new property looks up its rule first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

#: RFC 3986: a path without scheme and host, in which nothing is left to be encoded; its first part has no colon.
_PART = r"(?:[A-Za-z0-9._~!$&'()*+,;=@-]|%[0-9A-Fa-f]{2})"
RELATIVE = re.compile(rf"(?!//|$){_PART}*(?:/(?:{_PART}|:)*)*")
HIERARCHICAL = re.compile(r"[^/]+(/[^/]+)*")  # names of fingerprints, with their version

#: Object -> what it must have -> what it may have; a name in brackets is a list of such.
OBJECTS: dict[str, tuple[set[str], dict[str, Any]]] = {
    "log": ({"version", "runs"}, {"$schema": "text", "version": "text", "runs": ["run"]}),
    "run": (
        {"tool"},
        {"tool": "tool", "invocations": ["invocation"], "results": ["result"], "properties": "bag"},
    ),
    "tool": ({"driver"}, {"driver": "component"}),
    "component": ({"name"}, {"name": "text", "version": "text", "rules": ["rule"]}),
    "rule": ({"id"}, {"id": "text", "shortDescription": "message", "defaultConfiguration": "configuration"}),
    "configuration": (set(), {"level": "level"}),
    "invocation": (
        {"executionSuccessful"},
        {"executionSuccessful": "flag", "exitCode": "number", "toolExecutionNotifications": ["notification"]},
    ),
    "notification": ({"message"}, {"message": "message", "level": "level"}),
    "result": (
        {"message"},
        {
            "ruleId": "text", "ruleIndex": "number", "level": "level", "message": "message",
            "locations": ["location"], "partialFingerprints": "fingerprints", "properties": "bag",
        },
    ),
    "message": ({"text"}, {"text": "text"}),
    "location": (set(), {"physicalLocation": "place"}),
    "place": ({"artifactLocation"}, {"artifactLocation": "artifact", "region": "region"}),
    "artifact": ({"uri"}, {"uri": "relative"}),
    "region": ({"startLine"}, dict.fromkeys(("startLine", "startColumn", "endLine", "endColumn"), "from one")),
}  # fmt: skip

VALUES = {
    "text": lambda value: isinstance(value, str),
    "flag": lambda value: isinstance(value, bool),
    "number": lambda value: type(value) is int,
    "from one": lambda value: type(value) is int and value >= 1,
    "level": lambda value: value in ("none", "note", "warning", "error"),
    "relative": lambda value: isinstance(value, str) and RELATIVE.fullmatch(value) is not None,
    "bag": lambda value: isinstance(value, dict),
    "fingerprints": lambda value: (
        isinstance(value, dict) and all(HIERARCHICAL.fullmatch(name) and isinstance(value[name], str) for name in value)
    ),
}


def problems(value: Any, kind: Any = "log", where: str = "log") -> Iterator[str]:
    """Every place in which a log breaks the rules, each object on its own and ``ruleId`` against the rules."""
    if isinstance(kind, list):
        if not isinstance(value, list):
            yield f"{where} is no list"
            return
        for number, entry in enumerate(value):
            yield from problems(entry, kind[0], f"{where}[{number}]")
    elif kind in VALUES:
        if not VALUES[kind](value):
            yield f"{where} is no {kind}: {value!r}"
    elif not isinstance(value, dict):
        yield f"{where} is no {kind}"
    else:
        must, may = OBJECTS[kind]
        yield from (f"{where} lacks {name}" for name in sorted(must - value.keys()))
        for name, part in value.items():
            yield from problems(part, may[name], f"{where}.{name}") if name in may else [f"{where} may have no {name}"]
        if kind == "run":
            yield from _unresolved(value)


def _unresolved(run: dict[str, Any]) -> Iterator[str]:
    """Results of rules that the tool does not name, by id or by index."""
    names = [rule.get("id") for rule in run.get("tool", {}).get("driver", {}).get("rules", [])]
    if len(set(names)) < len(names):
        yield "a rule twice"
    for result in run.get("results", []):
        if (name := result.get("ruleId")) not in names or names.index(name) != result.get("ruleIndex"):
            yield f"{name!r} is no rule"
