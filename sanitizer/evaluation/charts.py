"""From measured cells to plots: what each threshold would find, how the share of poison matters, what removing does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from sanitizer.evaluation.cells import attack_and_rate
from sanitizer.evaluation.curves import RATES, RECALLS, Curve, precision_at, recall_at
from sanitizer.evaluation.plots import LOOKS, OWN, SHARES, Axis, Line, Mark, Span, intervals, plot, swatch
from sanitizer.evaluation.retraining import ARMS
from sanitizer.evaluation.tables import POOLED, Result, by_rank, by_row, pooled

#: Sets whose curves are in sight at once; the others are opened by the reader.
OPEN = 4
_RECALL = Axis("recall (poison found)", SHARES)
_FALSE_POSITIVES = Axis(
    "false positive rate (clean samples flagged)",
    tuple((10.0**power, f"{100 * 10.0**power:g} %") for power in range(-4, 1)), 1e-4, 1.0, log=True,
)  # fmt: skip
_PRECISION = Axis("precision (share of poison in what is flagged)", SHARES)


@dataclass(frozen=True)
class Panel:
    """Pictures that belong together, and what their looks mean."""

    title: str
    pictures: tuple[Markup, ...]
    key: tuple[tuple[Markup, str], ...] = ()
    opened: bool = True


@dataclass(frozen=True)
class Chart:
    """Panels under a title; ``missing`` says what could not be drawn, and why."""

    title: str
    says: str
    panels: tuple[Panel, ...]
    missing: str = ""


def charts(results: Sequence[Result]) -> list[Chart]:
    """All that the results have something to show for."""
    groups = {name: runs for name, runs in by_row(results).items() if runs[0]["poison"]}
    made = [_by_share(groups), _curves(groups), _victims(groups)]
    return [chart for chart in made if chart.panels or chart.missing]


def _by_share(groups: Mapping[str, Sequence[Result]]) -> Chart:
    """Recall at the tool's own threshold, for attacks at several rates."""
    attacks: dict[str, list[tuple[float, list[float]]]] = {}
    for row, runs in groups.items():
        attack, rate = attack_and_rate(row)
        if rate is not None:
            attacks.setdefault(attack, []).append((rate, [run["flags"]["any"]["recall"] for run in runs]))
    several = [(attack, found) for attack, found in attacks.items() if len(found) > 1]
    panels = [_shares(several[start : start + LOOKS]) for start in range(0, len(several), LOOKS)]
    says = (
        "The share of the poison that the scan flagged at its own threshold, by any kind of flag: a mark for each "
        "seed, a line through their means."
    )
    return Chart("Recall by share of poison", says, tuple(panels))


def _shares(attacks: Sequence[tuple[str, list[tuple[float, list[float]]]]]) -> Panel:
    rates = sorted({rate for _, found in attacks for rate, _ in found})
    x = Axis("share of the set that is poison", _ticks(rates), rates[0] / 1.2, rates[-1] * 1.2, log=True)
    lines, marks, key = [], [], []
    for look, (attack, found) in enumerate(attacks):
        means = tuple((rate, sum(recalls) / len(recalls)) for rate, recalls in found)
        lines.append(Line(attack, look, means, attack))
        marks += [
            Mark((rate, recall), look, f"{attack} at {100 * rate:g} %: recall {_percent(recall)}")
            for rate, recalls in found
            for recall in recalls
        ]
        key.append((swatch(look), attack))
    says = f"Recall against the share of poison: {', '.join(attack for attack, _ in attacks)}"
    return Panel("", (plot(x, _RECALL, lines, marks, says=says, margin=146.0),), tuple(key))


def _ticks(rates: Sequence[float]) -> tuple[tuple[float, str], ...]:
    """The rates that can be written side by side.

    >>> _ticks([0.01, 0.0101, 0.1])
    ((0.01, '1 %'), (0.1, '10 %'))
    """
    kept: list[float] = []
    for rate in rates:
        if not kept or rate >= 1.15 * kept[-1] * (rates[-1] / rates[0]) ** 0.1:
            kept.append(rate)
    return tuple((rate, f"{100 * rate:g} %") for rate in kept)


def _curves(groups: Mapping[str, Sequence[Result]]) -> Chart:
    """What every threshold would find; for each row that has kept it."""
    kept = {row: [run for run in runs if run["fused"].get("curve")] for row, runs in groups.items()}
    known = {row: runs for row, runs in kept.items() if runs}
    panels = [_curve_panel(row, runs, opened=place < OPEN) for place, (row, runs) in enumerate(known.items())]
    absent = [row for row in kept if row not in known and any("curve" not in run["fused"] for run in groups[row])]
    says = (
        "What each score would find at every threshold: mean over seeds, exact at four rates in each power of ten and "
        "straight between. Rates below 0.01 % lie on the left edge. 'all' is the score of the verdict; the numbers are "
        "the five detectors that rank best by AUROC on this set, which takes the truth to choose. The crossed circles "
        "are what the tool flagged at its own threshold, one for each seed: no oracle has set it."
    )
    missing = f"Not kept by older results: {', '.join(absent) if panels else 'no curve is known'}." if absent else ""
    return Chart("Every threshold: ROC and precision against recall", says, tuple(panels), missing)


@dataclass(frozen=True)
class _Series:
    """The curves of one score, one a seed."""

    label: str
    name: str
    told: tuple[Result, ...]

    @property
    def meaning(self) -> str:
        """As the key says it."""
        return f"{self.label}: {self.name}, AUROC {_percent(sum(one['auroc'] for one in self.told) / len(self.told))}"

    def line(self, look: int, steps: Sequence[float], read: Callable[[Curve, float], float]) -> Line:
        """The mean of what is read off at each step; labels of different looks stand at different ones."""
        means = (sum(read(one["curve"], step) for one in self.told) / len(self.told) for step in steps)
        return Line(self.name, look, tuple(zip(steps, means, strict=True)), self.label, label_at=1 + 2 * look)


def _curve_panel(row: str, runs: Sequence[Result], *, opened: bool) -> Panel:
    """The verdict's score and those of the best detectors, twice: ROC, and precision against recall."""
    told = {name: _kept(run["detectors"].get(name, {}) for run in runs) for name in by_rank(runs)}
    best = [(name, known) for name, known in told.items() if known][: LOOKS - 1]
    series = [_Series("all", "the verdict", _kept(run["fused"] for run in runs))]
    series += [_Series(f"{number}", name, known) for number, (name, known) in enumerate(best, start=1)]
    roc, precision = (
        [one.line(look, steps, read) for look, one in enumerate(series)][::-1]  # the verdict's in front
        for steps, read in ((RATES, recall_at), (RECALLS, precision_at))
    )
    pictures = (
        plot(_FALSE_POSITIVES, _RECALL, roc, _own(runs, _on_roc), says=f"ROC of {row}"),
        plot(_RECALL, _PRECISION, precision, _own(runs, _on_precision), says=f"Precision against recall of {row}"),
    )
    key = tuple((swatch(look, marked=False), one.meaning) for look, one in enumerate(series))
    title = f"{row}, {len(runs)} {'seed' if len(runs) == 1 else 'seeds'}"
    return Panel(title, pictures, (*key, (swatch(OWN, lined=False), "the tool's own threshold")), opened)


def _kept(scores: Iterable[Result]) -> tuple[Result, ...]:
    return tuple(one for one in scores if one.get("curve"))


def _own(runs: Sequence[Result], place: Callable[[Result], tuple[float, float] | None]) -> list[Mark]:
    """Where the tool's own threshold lies, for each seed."""
    marks = []
    for run in runs:
        told = run["flags"]["any"]
        if (at := place(told)) is not None:
            passed = f"{100 * told['false_positive_rate']:.3f} %"
            marks.append(Mark(at, OWN, f"{run['name']}: recall {_percent(told['recall'])}, false positives {passed}"))
    return marks


def _on_roc(told: Result) -> tuple[float, float]:
    return told["false_positive_rate"], told["recall"]


def _on_precision(told: Result) -> tuple[float, float] | None:
    """Of nothing, no share is poison."""
    flagged = told["poison_flagged"] + told["clean_flagged"]
    return (told["recall"], told["poison_flagged"] / flagged) if flagged else None


def _victims(groups: Mapping[str, Sequence[Result]]) -> Chart:
    """What victims do with and without what was flagged, beside both yardsticks."""
    told = {row: [run["retraining"] for run in runs if "retraining" in run] for row, runs in groups.items()}
    told = {row: runs for row, runs in told.items() if runs}
    axes = {"success": Axis("attack success", SHARES), "clean_accuracy": Axis("clean accuracy", SHARES)}
    pictures = tuple(
        intervals(axis, [(row, _spans(runs, of)) for row, runs in told.items()], says=f"{axis.title} of the victims")
        for of, axis in axes.items()
    )
    key = tuple((swatch(look, lined=False), f"{arm}: {meaning}") for look, (arm, meaning) in enumerate(ARMS.items()))
    says = (
        "Victims that were trained before and after removing what was flagged, beside those without as many samples "
        f"drawn at random and those without exactly the poison. {POOLED}"
    )
    return Chart("Before and after removing", says, (Panel("", pictures, key),) if told else ())


def _spans(runs: Sequence[Result], measure: str) -> list[Span]:
    spans = []
    for look, arm in enumerate(ARMS):
        found = pooled([[one[measure] for one in run["arms"][arm]] for run in runs])
        known = found.low is not None and found.high is not None
        spread = f" ({_percent(found.low)} to {_percent(found.high)})" if known else ""
        spans.append(Span(arm, look, found.mean, found.low, found.high, _percent(found.mean) + spread))
    return spans


def _percent(share: float | None) -> str:
    """A share for people, of which no part lies where no share can.

    >>> _percent(0.5), _percent(1.2), _percent(None)
    ('50.0 %', '100.0 %', '–')
    """
    return "–" if share is None else f"{100 * min(1.0, max(0.0, share)):.1f} %"
