"""WebDataset tar shards: members that share a key are one sample; read in place, never extracted."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sanitizer.errors import SourceError, UsageError
from sanitizer.sources import shards
from sanitizer.sources.base import Change, Found, Holds, Status
from sanitizer.sources.columns import LABEL_COLUMNS
from sanitizer.sources.decode import LIMITS, Limits
from sanitizer.sources.encode import EXTENSIONS, format_of
from sanitizer.sources.metadata import in_order, name_of_label
from sanitizer.sources.shards import entries_of, is_shard
from sanitizer.sources.table import beside, parent_made
from sanitizer.sources.tar import DESCRIBES, Member, broken, opened, read, walk_members
from sanitizer.sources.walk import Entry, Ids
from sanitizer.writing import whole_folder

#: Compressed ones are claimed too, so that an error can say what to do about them.
SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")

_MAX_LABEL_BYTES = 64 * 2**10
_TWO_LABELS = ""  # in place of the name of a class, which is never empty
_Changes = Callable[[Found], Change]


class TarSource:
    """One tar file, a glob of them, or a folder of them."""

    holds: Holds = "images"

    def __init__(self, uri: str, *, label_column: str | None = None, limits: Limits = LIMITS) -> None:
        self.uri = uri
        self.root, entries = entries_of(uri, "a tar file")
        self._limits = limits
        self._words = _Words(label_column)
        ids = Ids()
        named = [(ids.take(entry.name), entry) for entry in entries if _is_readable(entry)]
        self._shards = [self._indexed(name, entry, ids) for name, entry in named]
        self._others = {ids.take(entry.name): entry for entry in entries if not _is_readable(entry)}
        if not any(member.is_image for shard in self._shards for _, member in shard.members):
            raise SourceError(f"expected images in {uri!r}, found none: name tar shards whose members are images")
        names = in_order(name for shard in self._shards for name in shard.labels.values() if name != _TWO_LABELS)
        if label_column is not None and not names:
            raise SourceError(
                f"expected labels in members .{label_column} or under {label_column!r} in .json members of {uri!r}, "
                "found none: name another with --label-column"
            )
        self.class_names = names
        self._label_of = {name: label for label, name in enumerate(names)}

    @staticmethod
    def claims(uri: str) -> bool:
        """Whether ``uri`` means tar shards: a file, a glob that finds some, or a folder without images or Parquet."""
        return shards.claims(uri, SUFFIXES) and not shards.claims(uri)

    def stream(self, wanted: frozenset[str] | None = None) -> Iterator[Found]:
        """Every member that is an item (or only those whose id is wanted), shard by shard, then other files."""
        for shard in self._shards:
            items = [(id, member) for id, member in shard.members if id and (wanted is None or id in wanted)]
            if items:
                with opened(shard.entry) as handle:
                    for id, member in items:
                        yield self._found(shard, handle, id, member)
        yield from beside(self._others, wanted, lambda entry: "not a tar file")

    def rewrite(self, destination: Path, change: _Changes) -> dict[str, str]:
        """Copy the shards under their own names; what lies beside an image stays as long as the image does."""
        new_ids: dict[str, str] = {}
        ids = Ids()
        for shard in self._shards:
            ids.take(shard.entry.name)
        with whole_folder(destination) as copy:
            for shard in self._shards:
                with opened(shard.entry) as handle, parent_made(copy / shard.entry.name).open("xb") as file:
                    for id, member, content in self._changed(shard, handle, change):
                        file.writelines(_packed(member.name, content))
                        new = ids.take(f"{shard.name}#{member.name}") if id else ""
                        if member.is_image:
                            new_ids[id] = new
                    file.write(bytes(2 * tarfile.BLOCKSIZE))
        return new_ids

    def _indexed(self, name: str, entry: Entry, ids: Ids) -> _Shard:
        with opened(entry) as handle:
            members = list(walk_members(entry, handle, self._limits.max_bytes))
            keys = {member.key for member in members if member.is_image}
            members = [_judged(member, keys, self._words) for member in members]
            labels = self._words.labels_in(handle, members)
        items = [("" if member.describes else ids.take(f"{name}#{member.name}"), member) for member in members]
        return _Shard(name, entry, items, labels)

    def _found(self, shard: _Shard, handle: int, id: str, member: Member) -> Found:
        name = shard.labels.get(member.key) if member.is_image else None
        found = Found(id, self._label_of[name] if name else None, None, member.status, member.reason)
        if member.status is not Status.SCANNED:
            return found
        if self.class_names and not name:
            reason = "two different labels" if name == _TWO_LABELS else "no label"
            return replace(found, status=Status.UNREADABLE, reason=reason)
        content = read(handle, member)
        if content is None:
            return replace(found, status=Status.UNREADABLE, reason="changed while it was read")
        return replace(found, content=content)

    def _changed(self, shard: _Shard, handle: int, change: _Changes) -> Iterator[tuple[str, Member, bytes]]:
        """What becomes of the members, in their order; a label may stand before the image that decides about it."""
        images: dict[str, list[tuple[str, Member]]] = {}
        for id, member in shard.members:
            if member.is_image:
                images.setdefault(member.key, []).append((id, member))
        keys = frozenset(images)
        taken = {member.name for _, member in shard.members}
        kept: dict[str, tuple[Member, bytes]] = {}  # images met through a neighbour, until their own turn comes
        labels: dict[str, int | None] = {}  # key -> label as it shall be, of those that stay
        for id, member in shard.members:
            for old, new, content, label in self._asked(shard, handle, images.pop(member.key, ()), change, taken):
                kept[old] = new, content
                labels[member.key] = label
            if id in kept:
                yield (id, *kept.pop(id))
            elif member.status is Status.IGNORED and (member.key in labels or member.key not in keys):
                yield id, member, self._beside(shard, handle, member, labels.get(member.key))

    def _asked(
        self, shard: _Shard, handle: int, images: Iterable[tuple[str, Member]], change: _Changes, taken: set[str]
    ) -> Iterator[tuple[str, Member, bytes, int | None]]:
        """The images of one key that stay: id, and member, content and label as they shall be."""
        labels: set[int | None] = set()
        for id, member in images:
            found = self._found(shard, handle, id, member)
            changed = None if found.content is None else change(found)
            if found.content is None or changed is None:
                continue
            content, label = changed
            labels.add(self._checked(label))
            if len(labels) > 1:
                raise UsageError(f"expected one label for all images with the key of {id!r}, got two: they share it")
            yield id, _placed(member, found.content, content, taken), content, label

    def _beside(self, shard: _Shard, handle: int, member: Member, label: int | None) -> bytes:
        """The content of a member that is no image; if it holds the label of one, as that shall be."""
        content = read(handle, member)
        if content is None:
            raise broken(shard.entry, "changed while it was read")
        name = None if label is None else self.class_names[label]
        if name is None or not member.describes or shard.labels[member.key] == name:
            return content
        return self._words.with_label(member, content, name)

    def _checked(self, label: int | None) -> int | None:
        count = len(self.class_names)
        if (label is not None or count) and (label is None or not 0 <= label < count):
            raise UsageError(f"expected a label below {count}, got {label}: use an index of class_names")
        return label


@dataclass(frozen=True, slots=True)
class _Shard:
    """One archive: its members in their order with their ids, "" for those that are no item of their own."""

    name: str
    entry: Entry
    members: list[tuple[str, Member]]
    labels: dict[str, str]  # key -> name of the class


class _Words:
    """How labels are said: by a member with one extension or, where there is none, by a field of the ``.json``."""

    def __init__(self, column: str | None) -> None:
        self._extension = "cls" if column is None else column.lower()
        self._fields = LABEL_COLUMNS if column is None else (column,)
        self._raw: dict[tuple[bool, str], Any] = {}  # (in JSON?, name of a class) -> how it is written there

    def are_in(self, member: Member) -> bool:
        """Whether a member may say a label."""
        return member.extension in (self._extension, "json")

    def labels_in(self, handle: int, members: Iterable[Member]) -> dict[str, str]:
        """The name of the class by key, as the members that describe images say it."""
        said: dict[bool, dict[str, str]] = {True: {}, False: {}}
        for member in members:
            content = read(handle, member) if member.describes and self.are_in(member) else None
            value = None if content is None else self._label_in(member, content)
            name = name_of_label(value)
            if name is not None:
                in_json = member.extension == "json"
                self._raw.setdefault((in_json, name), value)
                known = said[in_json].setdefault(member.key, name)
                said[in_json][member.key] = name if known == name else _TWO_LABELS
        return said[True] | said[False]

    def with_label(self, member: Member, content: bytes, name: str) -> bytes:
        """The content with another label, where it has one."""
        if not self.are_in(member):
            return content
        in_json = member.extension == "json"
        value = self._raw.get((in_json, name), name)
        if not in_json:
            return str(value).encode("utf-8", "surrogateescape")
        fields = _object(content)
        field = self._field_in(fields)
        return content if field is None else json.dumps(fields | {field: value}).encode()

    def _label_in(self, member: Member, content: bytes) -> object:
        if member.extension != "json":
            return content.decode("utf-8", "surrogateescape").strip()
        fields = _object(content)
        field = self._field_in(fields)
        return None if field is None else fields[field]

    def _field_in(self, fields: dict[str, Any]) -> str | None:
        return next((field for field in self._fields if name_of_label(fields.get(field)) is not None), None)


def _is_readable(entry: Entry) -> bool:
    return is_shard(entry, SUFFIXES) and entry.status is Status.SCANNED


def _judged(member: Member, keys: set[str], words: _Words) -> Member:
    """The member, if it is no image, with the reason why it is ignored; what is hostile stays so."""
    if member.status is not Status.SCANNED or member.is_image:
        return member
    reason = "not an image"
    if member.extension == "cls" or words.are_in(member):
        reason = DESCRIBES if member.key in keys else "describes no image"
        if member.size > _MAX_LABEL_BYTES:
            reason = f"larger than the {_MAX_LABEL_BYTES} bytes that a label may have"
    return replace(member, status=Status.IGNORED, reason=reason)


def _placed(member: Member, old: bytes, new: bytes, taken: set[str]) -> Member:
    """The member with the extension of its format, under a name that is free and has the same key."""
    fmt = format_of(new)
    if not fmt or fmt == format_of(old) or member.name.lower().endswith(EXTENSIONS[fmt]):
        return member
    stem, suffix = member.name.rpartition(".")[0], EXTENSIONS[fmt][0]
    name, number = stem + suffix, 0
    while name in taken:
        number += 1
        name = f"{stem}.{number}{suffix}"
    taken.add(name)
    return replace(member, name=name)


def _packed(name: str, content: bytes) -> tuple[bytes, ...]:
    """A member as it lies in an archive, with nothing in its header that could vary."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    header = info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
    return header, content, bytes(-len(content) % tarfile.BLOCKSIZE)


def _object(content: bytes) -> dict[str, Any]:
    """A JSON object; an empty one if it is none."""
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}
