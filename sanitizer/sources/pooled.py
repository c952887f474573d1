"""Two sources read as one: a suspect set and a trusted one, treated alike and told apart only by their ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from sanitizer.errors import SourceError, UsageError
from sanitizer.sources.base import Change, Found, Holds, Source

_MARK = "trusted:"


class PooledSource:
    """Every item of the suspect source under its own id, then every item of the trusted one under a marked id."""

    def __init__(self, suspect: Source, trusted: Source) -> None:
        if suspect.holds != trusted.holds:
            raise SourceError(
                f"expected {suspect.holds} in the trusted source {trusted.uri!r}, as in the suspect one, got "
                f"{trusted.holds}: compare like with like"
            )
        if bool(suspect.class_names) != bool(trusted.class_names):
            has, lacks = (suspect, trusted) if suspect.class_names else (trusted, suspect)
            raise SourceError(
                f"expected labels in both sources or in none: {has.uri!r} has them, {lacks.uri!r} has not"
            )
        unknown = set(trusted.class_names) - set(suspect.class_names)
        missing = set(suspect.class_names) - set(trusted.class_names)
        if unknown or missing:
            one = sorted(unknown or missing)[0]
            where = "trusted source, not in the suspect one" if unknown else "suspect source, not in the trusted one"
            raise SourceError(f"expected the same classes in both sources, {one!r} is only in the {where}: align them")
        self.uri = suspect.uri
        self.holds: Holds = suspect.holds
        self.class_names = suspect.class_names
        self._suspect = suspect
        self._trusted = trusted
        self._label = {index: suspect.class_names.index(name) for index, name in enumerate(trusted.class_names)}

    @property
    def root(self) -> Path | None:
        """That of the suspect source."""
        return self._suspect.root

    @staticmethod
    def is_trusted(item: str) -> bool:
        """Whether an id of this source belongs to a trusted item."""
        return item.startswith(_MARK)

    def stream(self, wanted: frozenset[str] | None = None) -> Iterator[Found]:
        """Every item found, or only those whose id is wanted."""
        length = None
        for found in self._suspect.stream(_those(wanted, trusted=False)):
            if self.is_trusted(found.id):
                raise SourceError(f"{found.id!r} begins with {_MARK!r}, which marks trusted samples: rename it")
            length = length or _length(found)
            yield found
        for found in self._trusted.stream(_those(wanted, trusted=True)):
            if self.holds == "vectors" and length and length != (_length(found) or length):
                raise SourceError(
                    f"expected vectors of length {length} in the trusted source {self._trusted.uri!r}, as in the "
                    f"suspect one, got length {_length(found)}: embed both with the same network"
                )
            label = None if found.label is None else self._label[found.label]
            yield replace(found, id=_MARK + found.id, label=label)

    def rewrite(self, destination: Path, change: Callable[[Found], Change]) -> dict[str, str]:  # noqa: ARG002
        """Not to be had: a pool is for reading."""
        raise UsageError("expected one source to copy, got a suspect and a trusted one: copy them one by one")


def _those(wanted: frozenset[str] | None, *, trusted: bool) -> frozenset[str] | None:
    if wanted is None:
        return None
    if trusted:
        return frozenset(item.removeprefix(_MARK) for item in wanted if item.startswith(_MARK))
    return frozenset(item for item in wanted if not item.startswith(_MARK))


def _length(vector: Found) -> int:
    """How many float32 numbers an item holds."""
    return len(vector.content or b"") // 4
