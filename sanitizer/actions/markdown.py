"""Markdown: a gate on one screen, for a job summary that other steps write to as well."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from sanitizer.actions.report import brief, shown
from sanitizer.errors import UsageError
from sanitizer.outcome import Outcome

MAX_ROWS = 10  # of a table
MAX_NAME, MAX_TEXT = 60, 300

# All that could be markup, a link or a mention; what stays is what names are mostly made of.
_PUNCTUATION = re.compile(r"[!-+.:-@\[-`{-~]")

Row = tuple[str, ...]


def build_markdown(outcome: Outcome) -> str:
    """The answer, the checks, the classes and the samples that are worst."""
    return "\n".join(_lines(outcome)) + "\n"


def append_markdown(outcome: Outcome, path: Path) -> None:
    """Add it to a file, which is shared with whoever else writes a summary and is therefore never replaced."""
    try:
        with path.open("ab") as file:
            file.write(b"\n" + build_markdown(outcome).encode())
    except OSError as error:
        raise UsageError(f"cannot write {str(path)!r} ({error.strerror}): choose a path that can be written") from None


def escaped(text: object, most: int = MAX_TEXT) -> str:
    r"""Text that is only text, wherever in Markdown it stands.

    >>> escaped("a|b <b>`x`\n")
    'a&#124;b &#60;b&#62;&#96;x&#96;&#92;n'
    """
    return _PUNCTUATION.sub(lambda match: f"&#{ord(match[0])};", brief(shown(text), most))


def _lines(outcome: Outcome) -> Iterator[str]:
    yield f"## Dataset gate: {outcome.answer}"
    yield ""
    if outcome.verdict:
        yield escaped(", ".join(f"{count:,} {status}" for status, count in outcome.counts.items()))
        yield ""
    yield from _table(("check", "", "what was found"), _checks(outcome))
    yield from _table(("class", "samples", "flagged", "why"), _classes(outcome))
    yield from _table(("sample", "class", "kind", "why"), _samples(outcome))


def _checks(outcome: Outcome) -> Iterator[Row]:
    for check in outcome.failed:
        yield escaped(check.name), "**failed**", escaped(check.said)
    for check in outcome.checks:
        if check.passed:
            yield escaped(check.name), "passed", escaped(check.said)


def _classes(outcome: Outcome) -> Iterator[Row]:
    flagged = [one for one in outcome.classes if one.flagged]
    for one in flagged[:MAX_ROWS]:
        yield escaped(one.name, MAX_NAME), f"{one.size:,}", f"{one.flagged:,}", escaped(one.reason)
    yield from _more(len(flagged), columns=4)


def _samples(outcome: Outcome) -> Iterator[Row]:
    if outcome.verdict is None:
        return
    found = outcome.verdict.suspicious().select(["id", "label_name", "kind", "reasons"])
    for row in found.slice(0, MAX_ROWS).to_pylist():
        why = (row["reasons"] or ["no reason was kept"])[0]
        yield escaped(row["id"], MAX_NAME), escaped(row["label_name"] or "", MAX_NAME), row["kind"], escaped(why)
    yield from _more(found.num_rows, columns=4)


def _more(count: int, columns: int) -> Iterator[Row]:
    if count > MAX_ROWS:
        yield f"and {count - MAX_ROWS:,} more", *[""] * (columns - 1)


def _table(heads: Row, rows: Iterable[Row]) -> Iterator[str]:
    """A table of what there is, if there is anything; the rows are escaped already."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if lines:
        yield from (f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}", *lines, "")
