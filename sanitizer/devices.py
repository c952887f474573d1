"""Which device to compute on: asked once, answered in one place."""

from __future__ import annotations

import re

import torch

from sanitizer.errors import UsageError


def resolve_device(name: str) -> torch.device:
    """``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:N``."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:[0-9]+)?", name):
        raise UsageError(f"--device: expected auto, cpu or cuda:N; got {name!r}; choose one of those")
    kind, _, number = name.partition(":")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        have = torch.cuda.device_count()
        raise UsageError(f"--device: expected one of {have} CUDA devices; got {name!r}; use --device auto")
    return torch.device(name)
