"""Is the data still what was scanned, and the verdict still what was written?"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import NamedTuple

from sanitizer.actions.manifest import Statement, build_statement, canonical, digests_of_files, read_manifest
from sanitizer.errors import VerdictError
from sanitizer.record import MANIFEST, SUMMARY, TABLE, Verdict
from sanitizer.sources.base import Source, Status, digest_of
from sanitizer.sources.decode import LIMITS, Refused, Unreadable, decode

#: Names shown of each kind of difference; the rest is counted.
NAMES_SHOWN = 10

Pair = tuple[str, str]
_STATUSES = frozenset(map(str, Status))


@dataclass(frozen=True)
class Differences:
    """What is no longer as it was scanned; empty all over when nothing has changed."""

    changed: tuple[str, ...] = ()  # same id, other bytes
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    renamed: tuple[Pair, ...] = ()  # (old id, new id), same bytes
    relabelled: tuple[str, ...] = ()  # same bytes, other label (by its present id)
    tampered: tuple[str, ...] = ()  # files of the verdict folder that are not as written

    @property
    def ok(self) -> bool:
        """Nothing differs."""
        return not any(getattr(self, field.name) for field in fields(self))

    def lines(self) -> list[str]:
        """One line in words for each kind of difference that occurs.

        >>> Differences(added=("cat/9.png",), renamed=(("a", "b"),)).lines()
        ['1 added: cat/9.png', '1 renamed: a -> b']
        """
        return [
            f"{len(names)} {field.name}: {_listed(names)}"
            for field in fields(self)
            if (names := getattr(self, field.name))
        ]


class _Item(NamedTuple):
    """What is compared of one item."""

    content: str  # sha256 of its bytes; for an item that is not read, its status
    label: str | None


def verify(folder: Path, source: Source) -> Differences:
    """Compare ``source`` with the manifest in ``folder``, and that folder with itself.

    This asks for no signature: who can rewrite the whole verdict folder can make it agree with any data.
    """
    statement = read_manifest(folder)
    unread = frozenset(entry["name"] for entry in statement["predicate"]["unhashed"])
    differences = _compare(_recorded(statement), _present(source, unread))
    return replace(differences, tampered=tampered(folder, statement))


def _compare(old: Mapping[str, _Item], new: Mapping[str, _Item]) -> Differences:
    """The differences between two listings; each copy of identical bytes counts as one item."""
    gone = {name: item for name, item in old.items() if name not in new}
    come = {name: item for name, item in new.items() if name not in old}
    renamed = _renames(gone, come)
    left, arrived = {was for was, _ in renamed}, {now for _, now in renamed}
    stayed = [name for name in old if name in new]
    changed = {name for name in stayed if old[name].content != new[name].content}
    same_bytes = renamed + [(name, name) for name in stayed if name not in changed]
    return Differences(
        changed=tuple(sorted(changed)),
        added=tuple(sorted(come.keys() - arrived)),
        removed=tuple(sorted(gone.keys() - left)),
        renamed=tuple(renamed),
        relabelled=tuple(sorted(now for was, now in same_bytes if old[was].label != new[now].label)),
    )


def _renames(gone: Mapping[str, _Item], come: Mapping[str, _Item]) -> list[Pair]:
    """Pairs of a missing and a new id with the same bytes; those that kept their label are paired first."""
    pairs: list[Pair] = []
    keys: tuple[Callable[[_Item], object], ...] = (lambda item: item, lambda item: item.content)
    for key in keys:
        paired = {name for pair in pairs for name in pair}
        waiting: dict[object, list[str]] = defaultdict(list)
        for name in sorted(gone.keys() - paired, reverse=True):
            waiting[key(gone[name])].append(name)
        for name in sorted(come.keys() - paired):
            if come[name].content not in _STATUSES and waiting[key(come[name])]:
                pairs.append((waiting[key(come[name])].pop(), name))
    return sorted(pairs)


def _recorded(statement: Statement) -> dict[str, _Item]:
    """The items that the manifest lists."""
    read = {
        entry["name"]: _Item(entry["digest"]["sha256"], entry["annotations"]["label"]) for entry in statement["subject"]
    }
    unread = {entry["name"]: _Item(entry["status"], None) for entry in statement["predicate"]["unhashed"]}
    return read | unread


def _present(source: Source, unread: frozenset[str]) -> dict[str, _Item]:
    """The items that the source holds now; those that had no digest get a status again, if they still earn one."""
    items = {}
    for found in source.stream():
        label = None if found.label is None else source.class_names[found.label]
        if found.content is None:
            items[found.id] = _Item(str(found.status), None)
        elif found.id in unread and (status := _status(found.content)) is not Status.SCANNED:
            items[found.id] = _Item(str(status), None)
        else:
            items[found.id] = _Item(digest_of(found.content), label)
    return items


def _status(content: bytes) -> Status:
    """What a scan would say of these bytes."""
    try:
        decode(content, LIMITS)
    except Unreadable:
        return Status.UNREADABLE
    except Refused:
        return Status.REFUSED
    return Status.SCANNED


def tampered(folder: Path, statement: Statement) -> tuple[str, ...]:
    """Files of the verdict folder that do not fit the manifest, or the manifest where it does not fit them."""
    now, then = digests_of_files(folder), statement["predicate"]["files"]
    unfit = tuple(sorted(name for name in then if now.get(name) != then[name]))
    if TABLE in unfit or SUMMARY in unfit:
        return unfit
    return unfit if _fits(folder, statement) else (*unfit, MANIFEST)


def _fits(folder: Path, statement: Statement) -> bool:
    """Does the verdict give this very statement again, and does its summary count its own table?"""
    try:
        verdict = Verdict.read(folder)
        rebuilt = json.loads(canonical(build_statement(verdict, statement["predicate"]["files"])))
        counted = Counter(verdict.table["status"].to_pylist())
        return bool(rebuilt == statement and counted == +Counter(verdict.counts))
    except (VerdictError, AttributeError, KeyError, TypeError, ValueError):
        return False


def _listed(names: Iterable[str | Pair]) -> str:
    """The first few names, and how many more there are."""
    shown = [name if isinstance(name, str) else " -> ".join(name) for name in names]
    more = len(shown) - NAMES_SHOWN
    return ", ".join(shown[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
