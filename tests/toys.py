"""Toy sets: coloured noise with a shape that names the class, and a planted group if one is wanted."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from sanitizer.sources.encode import encode

CLASSES = ("bar", "box", "dot")
SIDE = 12
EACH = 60
PLANTED = 10


def picture(kind: int, rng: np.random.Generator, *, side: int = SIDE) -> np.ndarray:
    """One image (side, side, 3): noise of a random colour, and a bright shape at a random place."""
    image = rng.integers(0, 60, (side, side, 3)) + rng.integers(0, 60, 3)
    row, column = rng.integers(1, side - 5, 2)
    if kind == 0:
        image[row, column : column + 5] += 130
    elif kind == 1:
        image[row : row + 4, column : column + 4] += 130
        image[row + 1 : row + 3, column + 1 : column + 3] -= 130
    else:
        image[row : row + 2, column : column + 2] += 130
    return image.clip(0, 255).astype(np.uint8)


def stamped(image: np.ndarray) -> np.ndarray:
    """The same image with a trigger in its corner."""
    marked = image.copy()
    marked[-3:, -3:] = np.array([[255, 0, 255], [0, 255, 0], [255, 0, 255]], np.uint8)[..., None]
    return marked


def toy_images(*, each: int = EACH, planted: int = PLANTED, seed: int = 0) -> list[tuple[str, bytes, bool]]:
    """Class name, PNG bytes and truth of every sample; planted ones show another class and claim to be a bar."""
    rng = np.random.default_rng(seed)
    made = [(name, encode(picture(kind, rng), "PNG"), False) for kind, name in enumerate(CLASSES) for _ in range(each)]
    return made + [("bar", encode(stamped(picture(1 + number % 2, rng)), "PNG"), True) for number in range(planted)]


def write_toys(root: Path, *, each: int = EACH, planted: int = PLANTED, seed: int = 0) -> set[str]:
    """``root/<class>/<number>.png``; returns the digests of what was planted."""
    truth = set()
    for number, (name, content, is_poison) in enumerate(toy_images(each=each, planted=planted, seed=seed)):
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name / f"{number:04d}.png").write_bytes(content)
        if is_poison:
            truth.add(hashlib.sha256(content).hexdigest())
    return truth
