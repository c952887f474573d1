"""Views that need no model: what the pixels alone say of a sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sanitizer.embed.frequency import frequency
from sanitizer.embed.layout import layout
from sanitizer.embed.recurrence import recurrence

#: Pixels (n, side, side, 3), labels, content keys and where to compute -> one row a sample, (n, d).
View = Callable[[NDArray[np.uint8], NDArray[np.int64], NDArray[np.uint64], torch.device], NDArray[np.floating[Any]]]

VIEWS: Mapping[str, View] = {"frequency": frequency, "layout": layout, "recurrence": recurrence}
