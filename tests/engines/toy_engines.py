"""What the tests of engines share: a set with everything in it, a small frozen network, a cluster of one process."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import save_file
from toys import EACH, PLANTED, toy_images

from sanitizer.embed.cifar_resnet import CifarResNet
from sanitizer.pipeline import ScanSettings

ROWS_IN_A_GROUP = 40
TOTAL = 3 * EACH + PLANTED


def checkpoint(folder: Path) -> Path:
    """A network that was never trained: what it sees is as reproducible as of one that was."""
    torch.manual_seed(3)
    path = folder / "net.safetensors"
    save_file(CifarResNet(1, 4, 10).state_dict(), path)
    return path


def parquet(path: Path) -> Path:
    """The toys in a few row groups, one image cut short and one that would fill any memory."""
    rows = [{"image": {"bytes": content}, "label": name} for name, content, _ in toy_images(seed=1)]
    rows.append({"image": {"bytes": rows[0]["image"]["bytes"][:60]}, "label": "bar"})
    rows.append({"image": {"bytes": bomb()}, "label": "dot"})
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=ROWS_IN_A_GROUP)
    return path


def bomb() -> bytes:
    """The header of a PNG of ten thousand million pixels."""
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    size = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def settings(network: Path, engine: str = "ray", **more: Any) -> ScanSettings:
    """A scan by a frozen network on the CPU."""
    return ScanSettings(model=str(network), device="cpu", engine=engine, **more)  # type: ignore[arg-type]


class InProcess:
    """What ``Cluster`` does, here; whatever would travel is packed and unpacked."""

    workers = 2
    gpus = 0

    def __init__(self) -> None:
        self.tasks: list[str] = []

    def results(self, blocks: Sequence[pa.Table], worker: type, **told: Any) -> Iterator[pa.Table]:
        """The last block first: nobody may rely on an order."""
        made = worker(**pickle.loads(pickle.dumps(told)))  # noqa: S301 - made on the same line
        return (made(block) for block in reversed(list(blocks)))

    def kept(self, blocks: Sequence[pa.Table], worker: type, **told: Any) -> list[Any]:
        """Here, a reference is the value."""
        return list(self.results(blocks, worker, **told))

    def put(self, value: Any) -> Any:
        """Here, a reference is the value."""
        return value

    def task(self, function: Callable[..., Any], *arguments: Any, gpus: int = 0) -> Any:
        """At once."""
        self.tasks.append(function.__name__)
        return function(*arguments)

    def get(self, references: Any) -> Any:
        """Here, a reference is the value."""
        return references


@contextmanager
def in_process(*, gpus: bool) -> Iterator[InProcess]:
    """In place of ``cluster``."""
    yield InProcess()
