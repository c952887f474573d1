"""The workshop: what an attack works with besides its settings; nothing in it may change what comes out."""

from __future__ import annotations

from dataclasses import dataclass

from sanitizer.progress import SILENT, Progress
from sanitizer.store import Store


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """Where to compute, whom to tell how far it is, and where to keep what an interruption should not cost."""

    device: str = "auto"
    progress: Progress = SILENT
    store: Store | None = None
