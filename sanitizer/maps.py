"""Maps of classes: every sample's place in a plane that shows how what was flagged lies to the rest of its class.

A direction that is asked to tell any few samples from the rest finds one that does, if there are dimensions enough.
So the direction that places one half of a class was learned in the other half: what was flagged lies apart on the map
only if what sets it apart holds for samples that the direction has never met.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from detectors.base import Floats
from detectors.clustering import fisher_direction
from detectors.halves import evenly_halved
from detectors.whitening import principal_axes
from sanitizer.actions.chosen import PLANTED, Positions, planted_classes
from sanitizer.record import Verdict

#: The spaces that are mapped, the best first.
SPACES = ("feature", "frequency")
#: Classes that have a map.
MAPS = 6
#: Leading axes of a class that its map is drawn in.
AXES = 64
#: So many flagged samples, and others, must be in either half for a direction to be learned there.
LEAST = 4
#: Less variation than this share of the values themselves is rounding.
ROUNDING = 1e-9
DECIMALS = 4


def class_maps(
    spaces: Mapping[str, np.ndarray], ids: Sequence[str], keys: NDArray[np.uint64], verdict: Verdict
) -> Positions:
    """Class name -> id -> place, for the classes in which most was planted; where nothing was, for the likeliest one.

    Row i of every space and of ``keys`` is the sample ``ids[i]``.
    """
    space = next((spaces[name] for name in SPACES if name in spaces), None)
    if space is None:
        return {}
    rows = {name: row for row, name in enumerate(ids)}
    return {name: _class_map(name, space, rows, keys, verdict) for name in _mapped(verdict)}


def positions(features: np.ndarray, keys: NDArray[np.uint64], flagged: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Where the samples of one class lie, (n, 2); no unit means anything but the spread of the rest, which is 1.

    Right: as the flagged ones differ from the rest, by what the other half of the class shows. Up: the widest spread
    of the rest. With too few flagged samples to learn from, these are the two widest spreads of the class.

    Args:
        features: (n, d) of any scale; what is not finite counts as 0.
        keys: Numbers drawn from the samples' contents, by which the class is halved.
        flagged: (n,).
    """
    rows = _in_leading_axes(np.nan_to_num(np.asarray(features, np.float64), posinf=0.0, neginf=0.0))
    half = evenly_halved(keys)
    if min((half[group] == side).sum() for group in (flagged, ~flagged) for side in (True, False)) < LEAST:
        everyone = np.ones(len(rows), bool)
        places = [_in_spreads_of(everyone, along) for along in rows[:, :2].T]
    else:
        apart = np.empty(len(rows))
        for placed in (half, ~half):
            direction = fisher_direction(rows[~placed], flagged[~placed])
            apart[placed] = _in_spreads_of(~flagged[placed], rows[placed] @ direction)
        places = [apart, _in_spreads_of(~flagged, rows @ principal_axes(rows[~flagged], 1)[0])]
    return np.round(np.stack(places, axis=1), DECIMALS).astype(np.float32)


def _mapped(verdict: Verdict) -> list[str]:
    """The classes that have a map: a clean set shows what a clean class looks like."""
    classes = planted_classes(verdict)[:MAPS]
    likeliest = sorted(verdict.summary["classes"], key=lambda entry: (-(entry["score"] or 0.0), entry["name"]))
    return classes or [entry["name"] for entry in likeliest[:1]]


def _class_map(
    class_name: str, space: np.ndarray, rows: Mapping[str, int], keys: NDArray[np.uint64], verdict: Verdict
) -> dict[str, tuple[float, float]]:
    """Id -> place; only of what was asked about, for samples that were compared with are in no verdict."""
    of_class = verdict.table.filter(pc.equal(verdict.table["label_name"], class_name))
    kinds = dict(zip(of_class["id"].to_pylist(), of_class["kind"].to_pylist(), strict=True))
    names = [name for name in kinds if name in rows]
    members = np.array([rows[name] for name in names], np.int64)
    flagged = np.array([kinds[name] == PLANTED for name in names], bool)
    places = positions(space[members], keys[members], flagged).tolist()
    return {name: (x, y) for name, (x, y) in zip(names, places, strict=True)}


def _in_leading_axes(rows: Floats) -> Floats:
    """Centred rows in the axes along which they vary most, (n, at least 2), the widest first."""
    if len(rows) < 2:
        return np.zeros((len(rows), 2))
    centred = rows - rows.mean(axis=0)
    centred[:, centred.std(axis=0) <= ROUNDING * np.abs(rows).max(axis=0)] = 0
    reduced = centred @ principal_axes(centred, AXES).T
    return np.pad(reduced, ((0, 0), (0, max(0, 2 - reduced.shape[1]))))


def _in_spreads_of(rest: NDArray[np.bool_], along: Floats) -> Floats:
    """Positions on a line, from the mean of the rest, in units of its spread; of the whole reach if it has none."""
    if not rest.any():
        return along
    centred = along - along[rest].mean()
    reach, spread = np.abs(centred).max(), centred[rest].std()
    unit = spread if spread > ROUNDING * reach else reach
    return np.asarray(centred / unit if unit else centred)
