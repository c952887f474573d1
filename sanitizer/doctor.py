"""What an installation can use, and the line to run where something is missing."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata

from sanitizer.errors import UsageError
from sanitizer.store import Store

FAISS_WHEELS = ("faiss-cpu", "faiss-gpu", "faiss-gpu-cuvs")


@dataclass(frozen=True)
class Finding:
    """One fact about the installation."""

    fine: bool
    says: str
    advice: str = ""


def examine() -> Iterator[Finding]:
    """Every fact worth knowing, in order of importance."""
    import torch

    yield Finding(True, f"torch {torch.__version__}, CUDA {torch.version.cuda or 'not built in'}")
    devices = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    yield Finding(True, f"devices: cpu ({torch.get_num_threads()} threads)" + "".join(f", {name}" for name in devices))
    yield from _faiss(cuda=torch.version.cuda, on_gpu=bool(devices))
    for package in ("torchvision", "sklearn", "pyarrow", "datasets", "PIL", "safetensors"):
        yield _importable(package)
    if _version("timm") is None:
        yield Finding(True, "timm: absent; only --model timm:NAME needs it", "pip install 'dataset-sanitizer[timm]'")
    else:
        yield _importable("timm")
    yield _store()


def _store() -> Finding:
    try:
        store = Store.open()
    except UsageError as error:
        return Finding(False, str(error), "scans will say the same")
    return Finding(True, f"store: {store.root if store else 'none, nothing is kept between scans'}")


def _faiss(*, cuda: str | None, on_gpu: bool) -> Iterator[Finding]:
    have = [wheel for wheel in FAISS_WHEELS if _version(wheel)]
    extra = "cpu" if not (on_gpu and cuda) else "cuda12" if cuda.startswith("12") else "cuda13"
    line = f"pip install 'dataset-sanitizer[{extra}]'"
    if len(have) > 1:
        advice = f"pip uninstall {' '.join(have)}; {line}"
        yield Finding(False, f"{' and '.join(have)} are both installed and share one folder", advice)
    elif not have:
        yield Finding(True, "FAISS: absent; neighbours come from the exact torch search (same result, slower)", line)
    else:
        yield Finding(True, f"FAISS: {have[0]} {_version(have[0])}")


def _importable(package: str) -> Finding:
    try:
        found = importlib.import_module(package)
    except ImportError as error:
        return Finding(False, f"{package}: {error}", "pip install dataset-sanitizer")
    return Finding(True, f"{package} {getattr(found, '__version__', '')}".rstrip())


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
