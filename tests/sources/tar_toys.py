"""Toy tar archives, and what sources and Python's own reader make of them."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from sanitizer.sources.base import Change, Found, Status
from sanitizer.sources.encode import encode
from sanitizer.sources.webdataset import TarSource

Members = list[tuple[str, bytes]]


def png(value: int) -> bytes:
    """A small picture unlike all others."""
    return encode(np.full((4, 4, 3), value, np.uint8), "PNG")


def member(name: str, content: bytes = b"", **header: Any) -> tuple[tarfile.TarInfo, bytes]:
    """A member with whatever header somebody might write."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for word, value in header.items():
        setattr(info, word, value)
    return info, content


def pack(path: Path, members: list[Any], form: int = tarfile.PAX_FORMAT) -> Path:
    """A tar file of (name or header, content)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.TarFile(path, "w", format=form, encoding="utf-8", errors="surrogateescape") as tar:
        for head, content in members:
            info = head if isinstance(head, tarfile.TarInfo) else member(head, content)[0]
            tar.addfile(info, io.BytesIO(content))
    return path


def labelled(count: int = 4, extension: str = "cls") -> Members:
    """Pictures of two classes, as WebDataset's own writer stores them."""
    members: Members = []
    for row in range(count):
        label = b"%d" % (row % 2) if extension == "cls" else json.dumps({"label": row % 2, "n": row}).encode()
        members += [(f"d/{row:04d}.png", png(row)), (f"d/{row:04d}.{extension}", label)]
    return members


def seen(source: TarSource) -> dict[str, tuple[Status, str | None]]:
    """Each item's status and class."""
    found = {
        item.id: (item.status, None if item.label is None else source.class_names[item.label])
        for item in source.stream()
    }
    assert len(found) == sum(1 for _ in source.stream())
    return found


def keep(found: Found) -> Change:
    """Change nothing."""
    assert found.content is not None
    return found.content, found.label


def members_of(path: Path) -> dict[str, bytes]:
    """What a tar holds, read by somebody else."""
    with tarfile.open(path, "r:") as tar:
        read = {info.name: tar.extractfile(info) for info in tar if info.isreg()}
        return {name: file.read() for name, file in read.items() if file is not None}
