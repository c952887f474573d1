"""What is seen while a source is read: images at their own size and as squares, and what of them stays in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from numpy.typing import NDArray

from sanitizer.sources.base import Pixels
from sanitizer.sources.decode import fit
from sanitizer.sources.facts import Fact
from sanitizer.sources.isolated import APART_BYTES

#: An image as pixels (h, w, 3), or a vector (d,).
Decoded = NDArray[Any]

#: What has more pixels is decoded when its turn comes, alone: several at once would be gigabytes.
MODEST = 16_000_000


class Onlooker(Protocol):
    """Somebody who wants to see every image that has to be decoded anyway, once each, in any order."""

    @property
    def side(self) -> int:
        """Images are shown as squares of this side; asked when there is one to show."""
        ...

    @property
    def needs_every_core(self) -> bool:
        """Whether nothing else is to be done while it looks."""
        ...

    def see(self, digest: str, view: Pixels) -> None:
        """One image."""
        ...

    def seen_all(self) -> None:
        """There are no more."""
        ...


@dataclass(frozen=True, slots=True)
class Look:
    """What stored bytes come to."""

    fact: Fact
    pixels: Pixels | None = None
    squares: dict[int, Pixels] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        whole = 0 if self.pixels is None else self.pixels.nbytes
        return whole + sum(square.nbytes for square in self.squares.values())

    def square(self, side: int) -> Pixels:
        """The image as a square."""
        if side in self.squares:
            return self.squares[side]
        assert self.pixels is not None
        return fit(self.pixels, side)


def is_modest(content: bytes, size: tuple[int, int]) -> bool:
    """Whether an image of known size may be decoded beside others."""
    return len(content) <= APART_BYTES and size[0] * size[1] <= MODEST


@dataclass
class Held:
    """What stays in memory: everything as it was decoded, as long as it fits; then squares; then nothing.

    It is all or nothing, for whatever is missing has to be read again together with the rest.
    """

    limit: int  # bytes
    sides: Callable[[], Sequence[int]] = list  # asked when not everything fits
    whole: dict[str, Decoded] | None = field(default_factory=dict)  # by digest
    squares: dict[int, dict[str, Pixels]] = field(default_factory=dict)  # by side and digest
    _bytes: int = 0

    @property
    def wanted(self) -> frozenset[int]:
        """The sides that are still held."""
        return frozenset(self.squares) if self.whole is None else frozenset()

    def add(self, digest: str, look: Look | None) -> None:
        """What was decoded; None of a sample that was not."""
        if any(digest in known for known in (self.whole or {}, *self.squares.values())):
            return  # a copy
        if look is None:
            self.whole, self.squares = None, {}
        elif self.whole is not None:
            assert look.pixels is not None
            self.whole[digest] = look.pixels
            self._bytes += look.pixels.nbytes
            if self._bytes > self.limit:
                self._reduce()
        else:
            for side, known in self.squares.items():
                known[digest] = look.square(side)
                self._bytes += known[digest].nbytes
            if self._bytes > self.limit:
                self.squares = {}

    def _reduce(self) -> None:
        """Everything does not fit: its squares may."""
        whole, self.whole = self.whole or {}, None
        self.squares = {side: {digest: fit(pixels, side) for digest, pixels in whole.items()} for side in self.sides()}
        self._bytes = sum(square.nbytes for known in self.squares.values() for square in known.values())
        if self._bytes > self.limit:
            self.squares = {}
