"""Who proposes candidates in fp32: FAISS where it is installed, a torch search otherwise.

An engine takes a reference (r, d) and a device, and gives a function: queries (m, d), count -> positions (m, count).
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sanitizer.errors import MissingDependency

log = logging.getLogger(__name__)

#: ``auto``: bf16 where the hardware multiplies it natively, else FAISS where it is installed, else torch.
Engine = Literal["auto", "bf16", "faiss", "torch"]
Floats32 = NDArray[np.float32]
Rows = NDArray[np.int64]
Ask = Callable[[Floats32, int], Rows]


def engine_named(name: Engine) -> Callable[[Floats32, str], Ask]:
    """The engine of this name; for those that name none in fp32, the best that is there."""
    if name == "torch" or (name != "faiss" and not faiss_or_none()):
        return _ask_torch
    if not faiss_or_none():
        raise MissingDependency(
            "the faiss engine needs FAISS, which is not installed; pip install 'dataset-sanitizer[cpu]'"
        )
    return _ask_faiss


@functools.cache
def faiss_or_none() -> Any:
    """FAISS, imported after torch (the other order crashes with some builds), or None."""
    import torch  # noqa: F401

    try:
        import faiss
    except (ImportError, RuntimeError, OSError) as error:
        log.info("FAISS is not usable (%s): neighbours come from torch alone", error)
        return None
    return faiss


def _ask_faiss(reference: Floats32, device: str) -> Ask:
    faiss: Any = faiss_or_none()
    index = faiss.IndexFlatL2(reference.shape[1])
    if device.startswith("cuda") and hasattr(faiss, "StandardGpuResources"):
        number = int(device.partition(":")[2] or 0)
        index = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), number, index)
    index.add(np.ascontiguousarray(reference))
    return lambda queries, count: index.search(np.ascontiguousarray(queries), count)[1].astype(np.int64)


def _ask_torch(reference: Floats32, device: str) -> Ask:
    import torch

    base = torch.from_numpy(reference).to(device)
    norms = (base**2).sum(dim=1)

    def ask(queries: Floats32, count: int) -> Rows:
        # |q|^2 is the same for every candidate of a query: it cannot change the order.
        distance = norms - 2 * (torch.from_numpy(queries).to(device) @ base.T)
        return np.asarray(distance.topk(count, largest=False).indices.cpu().numpy(), dtype=np.int64)

    return ask
