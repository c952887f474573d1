"""How the flagged samples were learned, beside others that are shown: losses from epoch to epoch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup
from numpy.typing import NDArray

from sanitizer.actions.page.exhibits import Exhibits
from sanitizer.record import Verdict

#: A small curve on a card.
CURVE_WIDTH, CURVE_HEIGHT, CURVE_POINTS = 120, 28, 60
MAX_EPOCHS = 200  # points of one line
HEIGHT = 200  # pixels

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Course:
    """The losses of one kind of samples: their median and the quartiles around it, in percent of the chart."""

    kind: str
    count: int
    line: Markup
    band: Markup
    first: float
    last: float


@dataclass(frozen=True)
class Dynamics:
    """All courses on one scale."""

    epochs: int
    highest: float
    courses: Sequence[Course]


def dynamics(verdict: Verdict, exhibits: Exhibits) -> Dynamics | None:
    """The flagged samples of the gallery against those that were not flagged; None without losses of the former."""
    losses = {entry["id"]: entry["losses"] for entry in exhibits.entries if len(entry["losses"] or ()) > 1}
    if not losses:
        return None
    # Losses that were no numbers are missing from the gallery: what is shorter than the others says no epoch.
    epochs, _ = Counter(map(len, losses.values())).most_common(1)[0]
    kinds = _kinds(verdict, [name for name, values in losses.items() if len(values) == epochs])
    groups = {
        kind: np.percentile([losses[name] for name, its in kinds.items() if its == kind], [25, 50, 75], axis=0)
        for kind in ("", "label", "planted")
        if kind in kinds.values()
    }
    if not groups.keys() & {"planted", "label"}:
        return None
    highest = max(float(quartiles.max()) for quartiles in groups.values()) or 1.0
    counts = Counter(kinds.values())
    courses = [_course(kind, counts[kind], quartiles, highest) for kind, quartiles in groups.items()]
    return Dynamics(epochs, highest, courses)


def curve(losses: Sequence[float]) -> Markup:
    """The losses as SVG points, zero at the bottom.

    >>> curve([2.0, 1.0, 0.0])
    Markup('0.0,1.0 60.0,14.0 120.0,27.0')
    """
    at = np.linspace(0, len(losses) - 1, min(len(losses), CURVE_POINTS))
    values = np.interp(at, np.arange(len(losses)), losses)
    x = at * CURVE_WIDTH / max(at[-1], 1)
    y = CURVE_HEIGHT - 1 - values.clip(0) * (CURVE_HEIGHT - 2) / max(values.max(), 1e-9)
    return _points(x, y)


def _kinds(verdict: Verdict, names: Sequence[str]) -> dict[str, str]:
    """What each sample was flagged as; "" for those that were not."""
    table = verdict.table.filter(pc.is_in(verdict.table["id"], pa.array(names, pa.string())))
    return dict(zip(table["id"].to_pylist(), table["kind"].to_pylist(), strict=True))


def _course(kind: str, count: int, quartiles: Floats, highest: float) -> Course:
    at = np.unique(np.linspace(0, quartiles.shape[1] - 1, MAX_EPOCHS).astype(int))
    x = 100 * at / (quartiles.shape[1] - 1)
    low, middle, high = 100 - 100 * np.sqrt(quartiles[:, at].clip(0) / highest)  # most of training is near zero
    return Course(
        kind=kind,
        count=count,
        line=_points(x, middle),
        band=_points(np.concatenate([x, x[::-1]]), np.concatenate([low, high[::-1]])),
        first=float(quartiles[1, 0]),
        last=float(quartiles[1, -1]),
    )


def _points(x: Floats, y: Floats) -> Markup:
    return Markup(" ").join(Markup(f"{across:.1f},{down:.1f}") for across, down in zip(x, y, strict=True))
