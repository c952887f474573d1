"""Find the training samples that were planted to make a model misbehave, before you train on them.

>>> import sanitizer
>>> sanitizer.scan  # doctest: +ELLIPSIS
<function scan at ...>
"""

from __future__ import annotations

import importlib
from importlib import metadata
from typing import TYPE_CHECKING, Any

from sanitizer.registry import require_own_detectors

if TYPE_CHECKING:
    from sanitizer.pipeline import ScanSettings, scan
    from sanitizer.record import Verdict

__all__ = ["ScanSettings", "Verdict", "__version__", "scan"]

try:
    __version__ = metadata.version("dataset-sanitizer")
except metadata.PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"

_HOMES = {"ScanSettings": "sanitizer.pipeline", "scan": "sanitizer.pipeline", "Verdict": "sanitizer.record"}

require_own_detectors()


def __getattr__(name: str) -> Any:
    """Importing the package costs nothing: each name loads its module on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'sanitizer' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
