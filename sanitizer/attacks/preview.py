"""What an attack did, to look at: clean and poisoned images side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from sanitizer.attacks.poisoned import PoisonedSet
from sanitizer.errors import UsageError
from sanitizer.sources.base import Pixels, Source, open_source
from sanitizer.sources.decode import LIMITS, decode
from sanitizer.sources.encode import encode
from sanitizer.writing import refuse_inside, write_whole

Pair = tuple[Pixels, Pixels]  # clean, poisoned

_PAIRS = 6
_SIDE = 192  # small images are enlarged up to about this, larger ones are thinned out below it
_GAP = 8
_PAPER = 255


def preview(shown: PoisonedSet | Iterable[Pair], path: str | Path, *, source: Source | None = None) -> None:
    """Write a PNG with a handful of pairs, one a row: left as it was, right as it is now.

    Args:
        shown: A poisoned set, or pairs of images.
        path: Where the PNG goes.
        source: What the set was made from; reopened by the name in its recipe if None.
    """
    path = Path(path)
    if isinstance(shown, PoisonedSet):
        source = source or open_source(shown.recipe["source"])
        for root in (source.root, shown.data):
            refuse_inside(path, root)
        shown = _pairs(shown, source)
    rows = [np.hstack([_framed(_sized(image)) for image in pair]) for pair in islice(shown, _PAIRS)]
    if not rows:
        raise UsageError("preview: expected at least one poisoned image, got none: is this the source of the set?")
    write_whole(path, encode(np.vstack(rows), "PNG"))


def _pairs(poisoned: PoisonedSet, source: Source) -> Iterator[Pair]:
    """The first poisons of the set, each with what it was made from."""
    truth = poisoned.truth()
    rows = truth.filter(truth["is_poison"]).slice(0, _PAIRS).to_pylist()
    before = _images(source, [row["source_id"] for row in rows])
    after = _images(open_source(str(poisoned.data)), [row["id"] for row in rows])
    for row in rows:
        if row["source_id"] in before and row["id"] in after:
            yield before[row["source_id"]], after[row["id"]]


def _images(source: Source, wanted: list[str]) -> dict[str, Pixels]:
    found = source.stream(frozenset(wanted))
    return {item.id: decode(item.content, LIMITS) for item in found if item.content is not None}


def _sized(image: Pixels) -> Pixels:
    """The image at a size that can be looked at; pixels stay pixels."""
    side = max(image.shape[:2])
    if side > _SIDE:
        step = -(-side // _SIDE)
        return image[::step, ::step]
    times = _SIDE // side
    return image.repeat(times, axis=0).repeat(times, axis=1)


def _framed(image: Pixels) -> Pixels:
    """The image in the middle of a cell, so that pairs of different images line up."""
    height, width = image.shape[:2]
    top, left = (_SIDE - height) // 2 + _GAP, (_SIDE - width) // 2 + _GAP
    cell = np.full((_SIDE + 2 * _GAP, _SIDE + 2 * _GAP, 3), _PAPER, np.uint8)
    cell[top : top + height, left : left + width] = image
    return cell
