"""Whom a flagged sample looks like and was not flagged: compared with them, what was planted is left over.

The nearest neighbours of a planted sample are mostly planted too, for what was planted made them neighbours. So these
are the ones that are light, dark and coloured in the same places, among the samples of its class that nobody suspects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sanitizer.actions.chosen import Lookalikes
from sanitizer.record import Verdict

SPACE = "layout"
#: How many a sample is compared with: their mean has nothing left of each one's own.
COMPARED = 8
#: The most suspicious of a class that are compared; no report shows more.
MOST = 200


def lookalikes(spaces: Mapping[str, np.ndarray], ids: Sequence[str], verdict: Verdict) -> Lookalikes:
    """For every flagged sample that may be shown; row i of every space is the sample ``ids[i]``."""
    if SPACE not in spaces:
        return {}
    rows = {name: row for row, name in enumerate(ids)}
    flagged, others = verdict.suspicious(), verdict.table.filter(pc.invert(verdict.table["suspicious"]))
    found: dict[str, Sequence[str]] = {}
    for class_name in pc.unique(flagged["label_name"]).to_pylist():
        asked = [name for name in _of_class(flagged, class_name) if name in rows][:MOST]
        known = sorted(name for name in _of_class(others, class_name) if name in rows)
        if known:
            layout = spaces[SPACE]
            nearest = _nearest(layout[[rows[name] for name in asked]], layout[[rows[name] for name in known]])
            found |= {name: [known[place] for place in places] for name, places in zip(asked, nearest, strict=True)}
    return found


def _of_class(table: pa.Table, class_name: str | None) -> list[str]:
    names = table["label_name"]
    of_class = pc.is_null(names) if class_name is None else pc.equal(names, class_name)
    return table.filter(of_class)["id"].to_pylist()  # type: ignore[no-any-return]


def _nearest(asked: np.ndarray, known: np.ndarray) -> list[list[int]]:
    """The places of the nearest rows, of equally near ones the first."""
    asked, known = asked.astype(np.float64), known.astype(np.float64)
    squared = (known**2).sum(axis=1) - 2 * asked @ known.T  # but for what is the same for all of one row
    return np.argsort(squared, axis=1, kind="stable")[:, :COMPARED].tolist()  # type: ignore[no-any-return]
