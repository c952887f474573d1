"""Plots as inline SVG: pure functions from numbers and names to markup, which needs no script.

The colours are those of the page (classes ``s0`` to ``s5``). No plot speaks by colour alone: lines differ in their
dashes and carry a label, marks differ in their shape, and everything says its numbers when it is pointed at.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from sanitizer.actions.report import brief, shown

#: How many series can be told apart; the first is drawn thicker than the others.
LOOKS = 6
#: The look of a mark for the tool's own answer.
OWN = -1
WIDTH, HEIGHT = 400.0, 272.0
_LEFT, _TOP, _BOTTOM, _RIGHT = 46.0, 30.0, 42.0, 20.0
#: Between two labels, and between two lines of intervals.
_LABEL, _LINE = 13.0, 17.0
_NAME, _TITLE = 16, 50  # letters of a label, and of a name that has the whole line
#: Around (0, 0); the last is that of ``OWN``.
_SHAPES = (
    "M-4 0A4 4 0 1 1 4 0A4 4 0 1 1-4 0Z",
    "M-3.5-3.5H3.5V3.5H-3.5Z",
    "M0-4.5L4.5 3.5H-4.5Z",
    "M0-5L5 0L0 5L-5 0Z",
    "M0 4.5L4.5-3.5H-4.5Z",
    "M-4.5-1.5H-1.5V-4.5H1.5V-1.5H4.5V1.5H1.5V4.5H-1.5V1.5H-4.5Z",
    "M-7 0A7 7 0 1 1 7 0A7 7 0 1 1-7 0ZM-10 0H10M0-10V10",
)


@dataclass(frozen=True)
class Axis:
    """From where to where, and what is written where."""

    title: str
    ticks: tuple[tuple[float, str], ...]
    low: float = 0.0
    high: float = 1.0
    log: bool = False

    def place(self, value: float) -> float:
        """Where a value lies, as a share of the length; at the end if beyond.

        >>> Axis("rate", (), 1e-4, 1.0, log=True).place(0.01), Axis("share", ()).place(1.5)
        (0.5, 1.0)
        """
        low, high, at = (math.log(max(one, 1e-12)) if self.log else one for one in (self.low, self.high, value))
        return min(1.0, max(0.0, (at - low) / (high - low)))


@dataclass(frozen=True)
class Line:
    """Points in order, joined; its label stands at one of them, or at the right end if none is named."""

    name: str
    look: int
    points: tuple[tuple[float, float], ...]
    label: str
    label_at: int | None = None


@dataclass(frozen=True)
class Mark:
    """One point, and what it says when pointed at."""

    at: tuple[float, float]
    look: int
    says: str


@dataclass(frozen=True)
class Span:
    """A mean on a line of its own, with its interval if it has one."""

    name: str
    look: int
    mean: float
    low: float | None
    high: float | None
    text: str


#: Shares of anything, in per cent.
SHARES = tuple((step / 4, f"{25 * step} %") for step in range(5))


def plot(
    x: Axis, y: Axis, lines: Sequence[Line], marks: Sequence[Mark], *, says: str, margin: float = _RIGHT
) -> Markup:
    """Lines and marks in a frame.

    Args:
        x: Along the foot.
        y: Along the left side.
        lines: Drawn first to last, so that the last is in front.
        marks: In front of the lines and of the labels on them.
        says: The whole in one sentence, for those who do not see it.
        margin: Room on the right, for labels.
    """
    frame = _Frame(x, y, WIDTH - _LEFT - margin, HEIGHT - _TOP - _BOTTOM)
    at_end = [line for line in lines if line.label_at is None]
    heights = apart([frame.at(line.points[-1])[1] for line in at_end], gap=_LABEL, high=_TOP + frame.height)
    parts = [frame.drawn(), *(frame.line(line) for line in lines)]
    parts += [frame.label(line, line.label_at) for line in lines if line.label_at is not None]
    parts += [frame.mark(mark) for mark in marks]
    for line, height in zip(at_end, heights, strict=True):
        start = frame.at(line.points[-1])
        parts.append(_svg('<path class="lead" d="M{} {}L{} {}"/>', start[0], start[1], start[0] + 10, height))
        parts.append(_label(start[0] + 13, height + 4, line.label, line))
    return _whole(HEIGHT, says, parts)


def intervals(x: Axis, groups: Sequence[tuple[str, Sequence[Span]]], *, says: str) -> Markup:
    """Groups of means one below the other, each with its interval, its name on the left and its value on the right."""
    left, right, top = 66.0, 56.0, _TOP
    height = top + sum(_LINE * (len(spans) + 1.5) for _, spans in groups)
    width = WIDTH - left - right
    parts = [_svg('<text class="title" x="{}" y="14">{}</text>', left, x.title)]
    for value, text in x.ticks:
        at = left + width * x.place(value)
        parts.append(_svg('<path class="grid" d="M{} {}V{}"/>', at, top, height))
        parts.append(_svg('<text class="tick middle" x="{}" y="{}">{}</text>', at, height + 15, text))
    place = top
    for name, spans in groups:
        place += _LINE
        parts.append(
            _svg('<text class="name" x="2" y="{}">{}<title>{}</title></text>', place, _short(name, _TITLE), name)
        )
        for span in spans:
            place += _LINE
            parts.append(_span(span, x, left, width, place - 4))
        place += _LINE / 2
    return _whole(height + 24, says, parts)


def swatch(look: int, *, lined: bool = True, marked: bool = True) -> Markup:
    """What a look looks like, for a key: its line, its mark, or both."""
    line = Markup('<path class="line" d="M1 8H31"/>') if lined else Markup("")
    form = '<svg class="swatch" viewBox="0 0 32 16" aria-hidden="true"><g class="{}">{}{}</g></svg>'
    return _svg(form, _class(look), line, _shape(16, 8, look, "") if marked else Markup(""))


def apart(places: Sequence[float], *, gap: float, high: float) -> list[float]:
    """The same places in the same order, moved until no two are nearer than the gap, and none is beyond ``high``.

    >>> apart([50, 10, 48], gap=10, high=55)
    [55, 10, 45]
    """
    order = sorted(range(len(places)), key=places.__getitem__)
    moved = list(places)
    for before, this in pairwise(order):
        moved[this] = max(moved[this], moved[before] + gap)
    for this in reversed(order):
        moved[this] = min(moved[this], high)
        high = moved[this] - gap
    return moved


@dataclass(frozen=True)
class _Frame:
    """Where numbers lie on the sheet."""

    x: Axis
    y: Axis
    width: float
    height: float

    def at(self, point: tuple[float, float]) -> tuple[float, float]:
        """A point on the sheet, whose second axis points down."""
        return _LEFT + self.width * self.x.place(point[0]), _TOP + self.height * (1 - self.y.place(point[1]))

    def drawn(self) -> Markup:
        """Grid, ticks and titles."""
        foot, end = _TOP + self.height, _LEFT + self.width
        parts = [_svg('<text class="title" x="{}" y="14">{}</text>', 4, self.y.title)]
        for value, text in self.y.ticks:
            height = _TOP + self.height * (1 - self.y.place(value))
            parts.append(_svg('<path class="grid" d="M{} {}H{}"/>', _LEFT, height, end))
            parts.append(_svg('<text class="tick end" x="{}" y="{}">{}</text>', _LEFT - 6, height + 4, text))
        for value, text in self.x.ticks:
            at = _LEFT + self.width * self.x.place(value)
            parts.append(_svg('<path class="grid" d="M{} {}V{}"/>', at, _TOP, foot))
            parts.append(_svg('<text class="tick middle" x="{}" y="{}">{}</text>', at, foot + 15, text))
        middle = _LEFT + self.width / 2
        parts.append(_svg('<text class="title middle" x="{}" y="{}">{}</text>', middle, foot + 34, self.x.title))
        return Markup("").join(parts)

    def line(self, line: Line) -> Markup:
        """The points joined."""
        path = Markup("M" + "L".join("{:.1f} {:.1f}".format(*self.at(point)) for point in line.points))
        return _svg('<path class="line {}" d="{}"><title>{}</title></path>', _class(line.look), path, line.name)

    def mark(self, mark: Mark) -> Markup:
        """A shape in its place."""
        return _svg('<g class="{}">{}</g>', _class(mark.look), _shape(*self.at(mark.at), mark.look, mark.says))

    def label(self, line: Line, at: int) -> Markup:
        """The label on the line itself."""
        place = self.at(line.points[at])
        return _label(place[0], place[1] + 4, line.label, line, centred=True)


def _span(span: Span, x: Axis, left: float, width: float, height: float) -> Markup:
    """One mean with its interval."""
    low, mean, high = (
        left + width * x.place(span.mean if one is None else one) for one in (span.low, span.mean, span.high)
    )
    form = (
        '<g class="{}"><text class="tick end" x="{}" y="{}">{}</text><path class="span" d="M{} {}H{}"/>{}'
        '<text class="tick" x="{}" y="{}">{}</text></g>'
    )
    shape = _shape(mean, height, span.look, f"{span.name}: {span.text}")
    value = f"{100 * span.mean:.1f} %"
    return _svg(
        form, _class(span.look), left - 8, height + 4, span.name, low, height, high, shape,
        left + width + 8, height + 4, value,
    )  # fmt: skip


def _label(x: float, y: float, text: str, line: Line, *, centred: bool = False) -> Markup:
    form = '<text class="label {}{}" x="{}" y="{}">{}<title>{}</title></text>'
    return _svg(form, _class(line.look), " middle" if centred else "", x, y, _short(text, _NAME), line.name)


def _shape(x: float, y: float, look: int, says: str) -> Markup:
    told = _svg("<title>{}</title>", says) if says else Markup("")
    kind = "own" if look == OWN else "mark"
    return _svg('<path class="{}" transform="translate({} {})" d="{}">{}</path>', kind, x, y, _SHAPES[look], told)


def _short(text: str, most: int) -> str:
    """Start and end of a text that would be cut off, if that makes it shorter.

    >>> _short("badnets size=4", 12), _short("a_very_long_name", 9)
    ('badnets size=4', 'a_very … ame')
    """
    told = shown(text)
    return told if len(told) <= most + len(" … ") else brief(told, most)


def _class(look: int) -> str:
    return "s" if look == OWN else f"s{look}"


def _whole(height: float, says: str, parts: Sequence[Markup]) -> Markup:
    form = '<svg class="plot" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
    return _svg(form, WIDTH, height, says, Markup("").join(parts))


def _svg(form: str, *values: object) -> Markup:
    """Markup with values in it: numbers in short, and text as text, whatever it says."""
    return Markup(form).format(*map(_said, values))


def _said(value: object) -> str:
    if isinstance(value, Markup):
        return value
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else shown(value)
