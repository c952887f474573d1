"""A safetensors checkpoint, read strictly: nobody vouches for the file, and a net takes all of it or none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from sanitizer.errors import UsageError

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
COUNTERS = (torch.int64, torch.int32)

#: Names that an error lists before it only counts.
_SHOWN = 3


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds: weights as finite float32, counters and index tables as they are."""

    path: Path
    tensors: dict[str, Tensor]
    metadata: dict[str, str]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every weight, by which an architecture is recognised."""
        return {name: tuple(value.shape) for name, value in self.tensors.items() if value.is_floating_point()}


def read_checkpoint(path: Path) -> Checkpoint:
    """All tensors of a safetensors file, copied: the file may change under a memory mapping."""
    if not path.is_file():
        came = "something else" if path.exists() else "nothing there"
        raise UsageError(f"expected a safetensors checkpoint at {path}, got {came}; name a regular file")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: _weights(name, file.get_tensor(name), path) for name in file.keys()}  # noqa: SIM118
            metadata = dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise UsageError(
            f"expected a safetensors checkpoint, got {path}, which cannot be read as one ({error}); "
            "write it with safetensors.torch.save_file"
        ) from error
    return Checkpoint(path, tensors, metadata)


def _weights(name: str, value: Tensor, path: Path) -> Tensor:
    """A tensor of a kind that a network has, finite as float32."""
    if value.dtype in COUNTERS:
        return value.clone()
    if value.dtype not in FLOATS:
        raise UsageError(
            f"expected floating-point weights in {path}, got {name!r} of type {value.dtype}; save it unquantised"
        )
    if not value.numel():
        raise UsageError(f"expected weights in {path}, got {name!r} without a single value; use an intact checkpoint")
    weights = value.to(torch.float32, copy=True)
    if not weights.isfinite().all():
        raise UsageError(
            f"expected finite weights in {path}, got NaN or infinity in {name!r}; use an intact checkpoint"
        )
    return weights


def load_strictly(net: nn.Module, tensors: dict[str, Tensor], where: str) -> None:
    """Put every weight into ``net``: none missing, none left over, every shape as it should be.

    Integer tensors are counters and index tables, which a network makes itself: its own are kept, so that no file
    decides where an index points.
    """
    state = net.state_dict()
    learned = {name: value for name, value in state.items() if value.is_floating_point()}
    given = {name: value for name, value in tensors.items() if value.is_floating_point()}
    both = learned.keys() & given.keys()
    complaints = (
        _complaint("missing", learned.keys() - given.keys()),
        _complaint("unexpected", tensors.keys() - state.keys()),
        _complaint("of another shape", (name for name in both if learned[name].shape != given[name].shape)),
    )
    if any(complaints):
        raise UsageError(
            f"expected the {len(state)} tensors of {type(net).__name__} in {where}, "
            f"got {'; '.join(filter(None, complaints))}; use a checkpoint of that architecture"
        )
    state.update({name: given[name] for name in both})
    net.load_state_dict(state, assign=True)


def _complaint(what: str, names: Iterable[str]) -> str:
    """``2 missing ('a', 'b')``; empty where there is nothing to complain about."""
    found = sorted(names)
    return f"{len(found)} {what} ({name_some(found)})" if found else ""


def name_some(names: list[str]) -> str:
    """The first few names.

    >>> name_some(["a", "b", "c", "d"])
    "'a', 'b', 'c', ..."
    """
    return ", ".join(map(repr, names[:_SHOWN])) + (", ..." if len(names) > _SHOWN else "")
