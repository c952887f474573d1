"""The manifest: an in-toto statement of what was scanned, how, and with which conclusion."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sanitizer.errors import VerdictError
from sanitizer.record import GALLERY, MANIFEST, SUMMARY, TABLE, Verdict
from sanitizer.sources.base import digest_of
from sanitizer.writing import write_whole

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:dataset-sanitizer:scan:v1"
#: The files of a verdict folder that the manifest vouches for (the report is rebuilt from them).
FILES = (GALLERY, SUMMARY, TABLE)

Statement = dict[str, Any]


def build_statement(verdict: Verdict, files: Mapping[str, str]) -> Statement:
    """The statement that belongs to ``verdict``; a pure function, so that a manifest can be checked by rebuilding it.

    Args:
        verdict: The conclusion to vouch for.
        files: sha256 of every file of the verdict folder, by name.
    """
    rows = verdict.table.select(["id", "digest", "label_name", "status"]).sort_by("id").to_pylist()
    summary = verdict.summary
    return {
        "_type": STATEMENT_TYPE,
        "subject": [_subject(row) for row in rows if row["digest"]],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "tool": summary["tool"],
            "version": summary["version"],
            "parameters": summary["parameters"],
            "model": summary["model"],
            "view": summary["view"],
            "counts": summary["counts"],
            "verdictDigest": verdict.digest,
            "files": dict(files),
            # Items that were never read have no digest, and a subject must have one.
            "unhashed": [{"name": row["id"], "status": row["status"]} for row in rows if not row["digest"]],
        },
    }


def write_manifest(verdict: Verdict, folder: Path) -> None:
    """Put ``manifest.json`` beside the table, the summary and the gallery that already lie in ``folder``."""
    statement = build_statement(verdict, digests_of_files(folder))
    write_whole(folder / MANIFEST, canonical(statement))


def read_manifest(folder: Path) -> Statement:
    """The manifest of a verdict folder; ``VerdictError`` if it is missing, foreign or malformed."""
    path = folder / MANIFEST
    try:
        statement = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise _unfit(path, str(error)) from None
    for problem in _problems(statement):
        raise _unfit(path, problem)
    return statement  # type: ignore[no-any-return]  # _problems has seen every part that is used


def digests_of_files(folder: Path) -> dict[str, str]:
    """sha256 of the files that the manifest vouches for; a file that is not there is left out."""
    return {name: digest_of((folder / name).read_bytes()) for name in FILES if (folder / name).is_file()}


def canonical(statement: Statement) -> bytes:
    r"""The one way to write a statement: sorted keys, ASCII, one subject a line.

    >>> canonical({"subject": [{"name": "b"}, {"name": "a"}], "_type": "t"})
    b'{\n"_type": "t",\n"subject": [\n{"name": "b"},\n{"name": "a"}\n]\n}\n'
    """
    parts = []
    for name in sorted(statement):
        value = statement[name]
        lines = "[\n" + ",\n".join(map(_line, value)) + "\n]" if isinstance(value, list) and value else _line(value)
        parts.append(f"{_line(name)}: {lines}")
    return ("{\n" + ",\n".join(parts) + "\n}\n").encode("ascii")


def _line(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=True)


def _subject(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": row["id"],
        "digest": {"sha256": row["digest"]},
        "annotations": {"label": row["label_name"], "status": row["status"]},
    }


def _problems(statement: Any) -> Iterator[str]:
    """Why this is no manifest of ours, in words."""
    if not isinstance(statement, dict):
        yield f"a JSON {type(statement).__name__}"
        return
    for name, expected in (("_type", STATEMENT_TYPE), ("predicateType", PREDICATE_TYPE)):
        if statement.get(name) != expected:
            yield f"{name} {statement.get(name)!r} in place of {expected!r}"
    subjects, predicate = statement.get("subject"), statement.get("predicate")
    if not isinstance(subjects, list) or not all(map(_is_subject, subjects)):
        yield "subjects without a name, a sha256 and annotations"
    if not isinstance(predicate, dict) or not isinstance(predicate.get("verdictDigest"), str):
        yield "a predicate without verdictDigest"
        return
    files, unhashed = predicate.get("files"), predicate.get("unhashed")
    if not isinstance(files, dict) or set(files) != set(FILES):
        yield f"a predicate that does not name the files {', '.join(FILES)}"
    if not isinstance(unhashed, list) or not all(map(_is_unhashed, unhashed)):
        yield "unhashed items without a name and a status"


def _is_subject(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("name"), str)
        and isinstance(entry.get("digest"), dict)
        and isinstance(entry["digest"].get("sha256"), str)
        and isinstance(entry.get("annotations"), dict)
        and isinstance(entry["annotations"].get("status"), str)
        and isinstance(entry["annotations"].get("label"), str | None)
    )


def _is_unhashed(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("name"), str) and isinstance(entry.get("status"), str)


def _unfit(path: Path, came: str) -> VerdictError:
    line = (came.splitlines() or ["nothing"])[0][:200]
    return VerdictError(f"expected the manifest of a scan at {path}; got: {line}; run `sanitizer scan` again")
