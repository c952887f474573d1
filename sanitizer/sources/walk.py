"""Walking a folder that nobody vouches for: every entry gets a status before anything is opened."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from sanitizer.errors import SourceError
from sanitizer.sources.base import Status
from sanitizer.sources.encode import EXTENSIONS

#: Names that claim to hold an image, with the formats that are known and never decoded.
_FOREIGN = (
    ".avif",
    ".heic",
    ".heif",
    ".jp2",
    ".j2k",
    ".jpx",
    ".jxl",
    ".tga",
    ".ico",
    ".dds",
    ".psd",
    ".qoi",
    ".pcx",
    ".xpm",
)
IMAGE_SUFFIXES = (*(suffix for known in EXTENSIONS.values() for suffix in known), *_FOREIGN)


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that lies in a tree. SCANNED means: a regular file, or a link to one inside the root."""

    name: str  # relative to the root, "/" between parts, as the file system has it
    path: str  # what to open: the target, if the entry is a link
    status: Status
    reason: str = ""

    @property
    def is_image(self) -> bool:
        """Whether the name claims to be an image."""
        return self.name.lower().endswith(IMAGE_SUFFIXES)  # as torchvision does: even ".png" alone counts


def walk(root: str) -> Iterator[Entry]:
    """Every entry below ``root`` except the folders that can be listed, always in the same order."""
    real_root = os.path.realpath(root)
    pending: list[Entry | _Folder] = [_Folder("", real_root)]
    while pending:
        folder = pending.pop()
        if isinstance(folder, Entry):
            yield folder
            continue
        try:
            with os.scandir(folder.path) as listing:
                found = sorted(listing, key=lambda entry: os.fsencode(entry.name), reverse=True)
        except OSError as error:
            if not folder.name:
                raise SourceError(f"cannot list the folder {root!r} ({_why(error)}): check its permissions") from None
            yield Entry(folder.name + "/", folder.path, Status.UNREADABLE, f"cannot be listed ({_why(error)})")
            continue
        prefix = folder.name + "/" if folder.name else ""
        pending.extend(_classify(entry, prefix, real_root) for entry in found)


def look_at(name: str, root: str) -> Entry:
    """One name below a real root, links followed: it counts for what it leads to, as long as that lies inside."""
    path = f"{root}/{name}"
    try:
        target = os.path.realpath(path)
        if os.path.commonpath([root, target]) != root:  # a link that dangles outside leads outside all the same
            return Entry(name, path, Status.REFUSED, "a link out of the root")
        mode = os.lstat(target).st_mode
    except OSError:
        return Entry(name, path, Status.UNREADABLE, "a broken link")
    if stat.S_ISLNK(mode):
        return Entry(name, path, Status.UNREADABLE, "a broken link")
    if stat.S_ISDIR(mode):
        return Entry(name, path, Status.IGNORED, "a link to a folder inside the root")
    if not stat.S_ISREG(mode):
        return Entry(name, path, Status.REFUSED, "not a regular file")
    return Entry(name, target, Status.SCANNED)


def read_regular(path: str, max_bytes: int) -> tuple[bytes | None, Status, str]:
    """The content of a regular file (content, SCANNED, ""), or why there is none.

    The file may have been exchanged since it was listed, so what was opened is looked at again.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return None, Status.UNREADABLE, f"cannot be opened ({_why(error)})"
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            return None, Status.REFUSED, "not a regular file"
        if found.st_size > max_bytes:
            return None, Status.REFUSED, f"larger than {max_bytes} bytes"
        content = os.read(handle, found.st_size + 1)
        while len(content) < found.st_size and (more := os.read(handle, found.st_size - len(content))):
            content += more
    except OSError as error:
        return None, Status.UNREADABLE, f"cannot be read ({_why(error)})"
    finally:
        os.close(handle)
    if len(content) != found.st_size:
        return None, Status.UNREADABLE, "changed while it was read"
    return content, Status.SCANNED, ""


def printable(name: str) -> str:
    """A name as text that any table can hold: bytes that are no UTF-8 become backslash escapes.

    >>> printable("caf\\udce9.png")
    'caf\\\\udce9.png'
    """
    return name.encode("utf-8", "backslashreplace").decode()


class Ids:
    """Hands out ids and keeps them apart where two names look the same once they are printable."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, name: str) -> str:
        """The printable name, with as many ``~`` as it takes to be new."""
        chosen = printable(name)
        while chosen in self._taken:
            chosen += "~"
        self._taken.add(chosen)
        return chosen


@dataclass(frozen=True, slots=True)
class _Folder:
    name: str
    path: str


def _classify(entry: os.DirEntry[str], prefix: str, root: str) -> Entry | _Folder:
    name = prefix + entry.name
    try:
        mode = entry.stat(follow_symlinks=False).st_mode
    except OSError as error:
        return Entry(name, entry.path, Status.UNREADABLE, f"cannot be inspected ({_why(error)})")
    if stat.S_ISDIR(mode):
        return _Folder(name, entry.path)
    if stat.S_ISLNK(mode):
        return look_at(name, root)
    if not stat.S_ISREG(mode):
        return Entry(name, entry.path, Status.REFUSED, "not a regular file")
    return Entry(name, entry.path, Status.SCANNED)


def _why(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
