"""Walking a tar archive that nobody vouches for: every member gets a status, and nothing is extracted."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sanitizer.errors import SourceError
from sanitizer.sources.base import Status
from sanitizer.sources.walk import IMAGE_SUFFIXES, Entry, printable

_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_BLOCK = tarfile.BLOCKSIZE
_MAX_EXTENDED_BYTES = 2**20  # what headers may say of one member besides its 512 bytes
_LONG_NAMES = {tarfile.GNUTYPE_LONGNAME: "path", tarfile.GNUTYPE_LONGLINK: "linkpath"}
_PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.XGLTYPE)


#: The reason why a member that is part of a sample is no item of its own.
DESCRIBES = "describes an image"


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an archive, and where its content lies."""

    name: str
    offset: int
    size: int
    status: Status = Status.SCANNED
    reason: str = ""

    @property
    def key(self) -> str:
        """What the members of one sample share: the path up to the first dot of the file's name."""
        folder, slash, base = self.name.rpartition("/")
        return folder + slash + base.partition(".")[0]

    @property
    def extension(self) -> str:
        """The rest of the name, in lower case as WebDataset compares it."""
        return self.name.rpartition("/")[2].partition(".")[2].lower()

    @property
    def is_image(self) -> bool:
        """Whether the name claims to be an image."""
        return self.name.lower().endswith(IMAGE_SUFFIXES)

    @property
    def describes(self) -> bool:
        """Whether it belongs to an image, as a label does, and is no item of its own."""
        return self.reason == DESCRIBES


@contextmanager
def opened(entry: Entry) -> Iterator[int]:
    """The file behind an entry, looked at again: it may have been exchanged since it was listed."""
    try:
        handle = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise broken(entry, error.strerror or "it cannot be opened") from None
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise broken(entry, "not a regular file")
        yield handle
    finally:
        os.close(handle)


def read(handle: int, member: Member) -> bytes | None:
    """The content of a member; None if it is not there any more."""
    try:
        content = os.pread(handle, member.size, member.offset)
    except OSError:
        return None
    return content if len(content) == member.size else None


def broken(entry: Entry, why: str) -> SourceError:
    """What to say of an archive that cannot be used."""
    return SourceError(f"cannot read {printable(entry.name)!r} ({why}): replace the file or leave it out")


class _Damaged(ValueError):
    """An archive that does not end where it says, or says what cannot be; the message holds nothing from the file."""


def walk_members(entry: Entry, handle: int, max_bytes: int) -> Iterator[Member]:
    """Every member of an archive except its folders.

    ``tarfile`` parses the headers. The walk from one to the next is our own: ``TarFile`` stops in silence at a broken
    header, may go round in circles where sizes are negative, reads headers of any length, and keeps all members.
    """
    start = os.pread(handle, 6, 0)
    try:
        for name, header, offset, size, sparse in _headers(handle):
            status, reason = _hostile(name, header, size, sparse, max_bytes)
            if status is not Status.SCANNED or not header.isdir():
                yield Member(name, offset, size, status, reason)
    except (tarfile.TarError, ValueError, OSError, OverflowError) as error:
        for magic, packer in _COMPRESSED.items():
            if start.startswith(magic):
                came = f"expected an uncompressed tar, got {packer} data in {printable(entry.name)!r}"
                raise SourceError(f"{came}: decompress it") from None
        raise broken(entry, str(error) if isinstance(error, _Damaged) else "no intact tar") from None


def _headers(handle: int) -> Iterator[tuple[str, tarfile.TarInfo, int, int, bool]]:
    """Name, header, place and size of the content of each member, and whether it is sparse."""
    at = 0
    said: dict[str, str] = {}  # what the headers before a member say of it; of two that disagree the first counts
    while any(block := _exactly(handle, _BLOCK, at)):
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        at += _BLOCK
        if header.type in _LONG_NAMES or header.type in _PAX:
            said = _extended(header, _exactly(handle, header.size, at, _MAX_EXTENDED_BYTES)) | said
            at += _whole_blocks(header.size)
            continue
        more = header.type == tarfile.GNUTYPE_SPARSE and block[482]
        while more:
            more = _exactly(handle, _BLOCK, at)[504]
            at += _BLOCK
        size = int(said.get("size", header.size))
        if size < 0:
            raise _Damaged("tar with a size below zero")
        sparse = header.type == tarfile.GNUTYPE_SPARSE or any(word.startswith("GNU.sparse.") for word in said)
        yield said.get("path", header.name), header, at, size, sparse
        if header.isreg() or header.type not in tarfile.SUPPORTED_TYPES:  # others have no content, whatever their size
            at += _whole_blocks(size)
        said = {}
    if said or not _is_blank(handle, at):
        raise _Damaged("tar with data after its end")


def _extended(header: tarfile.TarInfo, body: bytes) -> dict[str, str]:
    """What a header in front of a member says of it."""
    if header.type in _LONG_NAMES:
        return {_LONG_NAMES[header.type]: _text(body.partition(b"\0")[0])}
    records: dict[str, str] = {}
    at = 0
    while at < len(body):
        length = body[at : body.index(b" ", at, at + 9)]  # "17 path=cat/1.png\n": 17 is the length of all of it
        end = at + int(length)
        word, equals, value = body[at + len(length) + 1 : end].partition(b"=")
        if end > len(body) or not equals or not value.endswith(b"\n"):
            raise _Damaged("tar with a broken extended header")
        records[_text(word)] = _text(value[:-1])
        at = end
    if header.type != tarfile.XGLTYPE:
        return records
    if any(word in ("path", "linkpath", "size") or word.startswith("GNU.sparse.") for word in records):
        raise _Damaged("tar that says one name or size of all members")
    return {}


def _hostile(name: str, header: tarfile.TarInfo, size: int, sparse: bool, max_bytes: int) -> tuple[Status, str]:
    """Whether a member could harm whoever extracts it, though nothing is extracted here."""
    if not name or name.startswith("/") or "\0" in name or ".." in name.split("/"):
        return Status.REFUSED, "a name that leads out of the archive"
    if header.issym() or header.islnk():
        return Status.REFUSED, "a link"
    if sparse:
        return Status.REFUSED, "a sparse file"
    if not header.isreg() and not header.isdir():
        return Status.REFUSED, "not a regular file"
    if size > max_bytes and not header.isdir():
        return Status.REFUSED, f"larger than {max_bytes} bytes"
    return Status.SCANNED, ""


def _exactly(handle: int, size: int, at: int, limit: int = _BLOCK) -> bytes:
    if not 0 <= size <= limit:
        raise _Damaged("tar with a header of impossible size")
    content = os.pread(handle, size, at)
    if len(content) != size:
        raise _Damaged("truncated tar")
    return content


def _whole_blocks(size: int) -> int:
    return size + -size % _BLOCK


def _is_blank(handle: int, at: int) -> bool:
    """Whether nothing but zeros follows."""
    while chunk := os.pread(handle, 2**20, at):
        if chunk.count(0) != len(chunk):
            return False
        at += len(chunk)
    return True


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
