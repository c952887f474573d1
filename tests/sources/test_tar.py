"""Walking tar archives: hostile and damaged headers cost one line, and no member goes unmentioned."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import tarfile
from pathlib import Path
from typing import Any

import pytest
from tar_toys import keep, labelled, member, members_of, pack, png, seen

from sanitizer.errors import SourceError
from sanitizer.sources.base import Status
from sanitizer.sources.decode import Limits
from sanitizer.sources.webdataset import TarSource


def test_hostile_members_are_refused_and_nothing_goes_unmentioned(tmp_path: Path) -> None:
    """Nothing is extracted here; whoever trains on it may."""
    hostile = [
        member("link.png", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        member("hard.png", type=tarfile.LNKTYPE, linkname="d/0000.png"),
        member("fifo.png", type=tarfile.FIFOTYPE),
        member("device.png", type=tarfile.CHRTYPE),
        member("odd.png", png(50), type=b"Z"),
        member("/absolute.png", png(51)),
        member("../up.png", png(52)),
        member("d/../../up.cls", b"1"),
        member("../folder", type=tarfile.DIRTYPE),
        member("big.png", bytes(2000)),
        member("old.png", png(53), type=tarfile.GNUTYPE_SPARSE),
        member("new.png", png(54), pax_headers={"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}),
    ]
    harmless = [member("d", type=tarfile.DIRTYPE), ("d/notes.txt", b"x"), ("alone.json", b"{}"), ("alone.cls", b"5")]
    file = pack(tmp_path / "a.tar", [*hostile, *harmless, *labelled(1)])
    source = TarSource(str(file), limits=Limits(max_bytes=1000))
    found = {item.id[6:]: (item.status, item.reason) for item in source.stream()}
    assert [name for name, (status, _) in found.items() if status is Status.REFUSED] == [
        head.name for head, _ in hostile
    ]
    assert all(reason for status, reason in found.values() if status is not Status.SCANNED)
    assert {name: status for name, (status, _) in found.items() if status is not Status.REFUSED} == {
        "d/notes.txt": Status.IGNORED,
        "alone.json": Status.IGNORED,
        "alone.cls": Status.IGNORED,
        "d/0000.png": Status.SCANNED,
    }
    source.rewrite(tmp_path / "copy", keep)
    kept = ["d/notes.txt", "alone.json", "alone.cls", "d/0000.png", "d/0000.cls"]
    assert list(members_of(tmp_path / "copy" / "a.tar")) == kept


@pytest.mark.parametrize(
    ("packer", "squeeze"), [("gzip", gzip.compress), ("bzip2", bz2.compress), ("xz", lzma.compress)]
)
@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tgz"])
def test_a_compressed_tar_is_told_what_to_do(tmp_path: Path, packer: str, squeeze: Any, name: str) -> None:
    """Whatever it is called."""
    content = pack(tmp_path / "plain", labelled()).read_bytes()
    (tmp_path / name).write_bytes(squeeze(content))
    with pytest.raises(
        SourceError, match=f"expected an uncompressed tar, got {packer} data in '{name}': decompress it"
    ):
        TarSource(str(tmp_path / name))


def damaged(content: bytes, damage: str) -> bytes:
    """An archive that is not what it was."""
    second = content.index(b"d/0002.png")
    header = bytearray(content[second : second + 512])
    if damage == "checksum":
        return content[: second + 20] + b"x" + content[second + 21 :]
    if damage == "negative":
        header[124:136] = b"\xff" * 10 + b"\xfe\x00"
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        return content[:second] + bytes(header) + content[second + 512 :]
    return {
        "in a header": content[: second + 100],
        "in content": content[: second + 520],
        "between members": content[:second],
        "empty": b"",
        "text": b"this is no tar at all" * 100,
        "two of them": content + content,
    }[damage]


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        ("checksum", "no intact tar"),
        ("negative", "size below zero"),
        ("in a header", "truncated"),
        ("in content", "truncated"),
        ("between members", "truncated"),
        ("empty", "truncated"),
        ("text", "no intact tar"),
        ("two of them", "data after its end"),
    ],
)
def test_a_damaged_tar_is_one_line_that_names_it(tmp_path: Path, damage: str, why: str) -> None:
    """Python's own reader would take many of these for the end of the archive, and the rest would go unseen."""
    file = pack(tmp_path / "bad.tar", labelled())
    file.write_bytes(damaged(file.read_bytes(), damage))
    with pytest.raises(SourceError, match=rf"cannot read 'bad\.tar' \(.*{why}") as caught:
        TarSource(str(file))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "kind", "why"),
    [
        (b"30 path=short\n", tarfile.XHDTYPE, "broken extended header"),
        (b"0 path=none\n", tarfile.XHDTYPE, "broken extended header"),
        (b"9" * 600_000, tarfile.XHDTYPE, "no intact tar"),
        (b"x" * 2_000_000, tarfile.GNUTYPE_LONGNAME, "impossible size"),
        (b"11 size=-1\n", tarfile.XHDTYPE, "below zero"),
        (b"13 path=all\n\n", tarfile.XGLTYPE, "name or size of all"),
    ],
)
def test_extended_headers_are_bounded_and_believed_in_nothing_odd(
    tmp_path: Path, body: bytes, kind: bytes, why: str
) -> None:
    """Each of these costs Python's own reader time or memory, or says what no writer says."""
    file = pack(tmp_path / "a.tar", [member("x", body, type=kind), *labelled(1)], tarfile.USTAR_FORMAT)
    with pytest.raises(SourceError, match=why) as caught:
        TarSource(str(file))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_are_read_in_every_format(tmp_path: Path, form: int) -> None:
    """As Python's own reader reads them, names in other alphabets too."""
    names = [f"{'long/' * 20}{row:060d}.png" for row in range(2)] + ["größe/猫.png", "short.png"]
    file = pack(tmp_path / "a.tar", [(name, png(row)) for row, name in enumerate(names)], form)
    found = {item.id: item.content for item in TarSource(str(file)).stream()}
    assert found == {f"a.tar#{name}": png(row) for row, name in enumerate(names)}
    TarSource(str(file)).rewrite(tmp_path / "copy", keep)
    assert members_of(tmp_path / "copy" / "a.tar") == members_of(file)


def test_a_shard_exchanged_after_it_was_indexed_gives_nothing_else(tmp_path: Path) -> None:
    """Neither a link in its place nor a shorter file."""
    file = pack(tmp_path / "a.tar", labelled(2))
    source = TarSource(str(file))
    content = file.read_bytes()
    file.write_bytes(content[:520])
    assert {status for status, _ in seen(source).values()} == {Status.UNREADABLE}
    file.unlink()
    file.symlink_to("/etc/passwd")
    with pytest.raises(SourceError, match=r"cannot read 'a\.tar'"):
        list(source.stream())


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_bytes_changed_anywhere_in_a_header_never_crash(tmp_path: Path, form: int) -> None:
    """An archive is read as far as it can be trusted, or is one line."""
    intact = pack(tmp_path / "a.tar", [(f"{'n' * 120}.png", png(0)), *labelled(1)], form).read_bytes()
    chance = random.Random(5)
    for turn in range(150):
        content = bytearray(intact)
        for _ in range(1 + turn % 3):
            content[chance.randrange(len(intact) - 8000)] = chance.randrange(256)
        for start in range(0, len(content), 512):  # a checksum that is right lets the damage through
            header = content[start : start + 512]
            if turn % 2 and header[257:262] == b"ustar":
                header[148:156] = b" " * 8
                content[start + 148 : start + 156] = b"%06o\0 " % sum(header)
        (tmp_path / "b.tar").write_bytes(content)
        try:
            source = TarSource(str(tmp_path / "b.tar"))
        except SourceError:
            continue
        assert all(found.content is None or found.status is Status.SCANNED for found in source.stream())
        source.rewrite(tmp_path / f"copy{turn}", keep)
