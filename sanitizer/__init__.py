"""Find the training samples that were planted to make a model misbehave, before you train on them.

>>> import sanitizer
>>> sanitizer.scan  # doctest: +ELLIPSIS
<function scan at ...>
"""

from __future__ import annotations

import importlib
import sys
from importlib import metadata
from types import ModuleType
from typing import TYPE_CHECKING, Any

from sanitizer.registry import require_own_detectors

if TYPE_CHECKING:
    from sanitizer.gate import gate
    from sanitizer.hooks import Sanitizer
    from sanitizer.interop import knn_graph
    from sanitizer.pipeline import ScanSettings, scan
    from sanitizer.policy import Policy
    from sanitizer.record import Verdict

__all__ = ["Policy", "Sanitizer", "ScanSettings", "Verdict", "__version__", "gate", "knn_graph", "scan"]

try:
    __version__ = metadata.version("dataset-sanitizer")
except metadata.PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"

_HOMES = {
    "Policy": "sanitizer.policy",
    "Sanitizer": "sanitizer.hooks",
    "ScanSettings": "sanitizer.pipeline",
    "Verdict": "sanitizer.record",
    "gate": "sanitizer.gate",
    "knn_graph": "sanitizer.interop",
    "scan": "sanitizer.pipeline",
}

require_own_detectors()


def __getattr__(name: str) -> Any:
    """Importing the package costs nothing: each name loads its module on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'sanitizer' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


class _Package(ModuleType):
    """``sanitizer.gate`` is the function, although the module it lives in has the same name."""

    def __setattr__(self, name: str, value: Any) -> None:
        """Importing a module puts it here under its name; one that would hide a name of ours is left out."""
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
