"""Where the data sets and checkpoints lie on this machine; settings name them by DATA/ and WEIGHTS/."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Places:
    """The folders given on the command line."""

    data: Path
    weights: Path

    def located(self, value: Any) -> Any:
        """A setting with the real folders in it; what is no text is left as it is.

        >>> Places(Path("here"), Path("there")).located("frozen:WEIGHTS/net.safetensors")
        'frozen:there/net.safetensors'
        """
        if not isinstance(value, str):
            return value
        return value.replace("DATA/", f"{self.data}/").replace("WEIGHTS/", f"{self.weights}/")
