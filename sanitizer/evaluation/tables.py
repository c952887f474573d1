"""From measured cells to tables: one row for each attack, seeds averaged, every figure with its interval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sanitizer.evaluation.cells import attack_and_rate
from sanitizer.evaluation.matrix import FLAGS, RATES
from sanitizer.evaluation.ranking import Interval, over_seeds
from sanitizer.evaluation.retraining import ARMS, DIFFERENCES, MEASURES

Result = Mapping[str, Any]

#: What all detectors together say: the score of the verdict.
FUSED = "all together"
_MEASURES = {"auroc": "AUROC"} | {name: f"Recall at {100 * rate:g} % false positives" for name, rate in RATES.items()}
_NONE = "–"
POOLED = "95 % t-intervals: over the means of the poisoned sets if there are several, over the victims of one if not."


@dataclass(frozen=True)
class Entry:
    """One field of a table: what it says, how sure that is, and how hot it is on a heat map (0 to 1), if at all."""

    text: str
    spread: str = ""
    heat: float | None = None

    @property
    def full(self) -> str:
        """Both in one line."""
        return f"{self.text} ({self.spread})" if self.spread else self.text


@dataclass(frozen=True)
class Table:
    """Rows of entries under a header; the first column names the row."""

    title: str
    says: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Entry, ...]], ...]
    hot: bool = False  # a heat map: its columns are many and its entries are shares
    centred: bool = False  # a heat of one half is chance, less is worse than chance


def tables(results: Sequence[Result]) -> list[Table]:
    """All of them: the tool's own answers, how each detector ranks, what retraining shows, what failed."""
    groups = by_row(results)
    poisoned = {name: runs for name, runs in groups.items() if runs[0]["poison"]}
    made = [_answers(groups)] if groups else []
    made += [_ranking(measure, poisoned) for measure in _MEASURES] if poisoned else []
    retrained = {name: [run["retraining"] for run in runs if "retraining" in run] for name, runs in poisoned.items()}
    if retrained := {name: told for name, told in retrained.items() if told}:
        made += [_victims(retrained), _changes(retrained)]
    return made + _failed(results)


def overview(results: Sequence[Result]) -> list[Table]:
    """The same in short, for a terminal."""
    columns = ("set", "runs", "found", "poison flagged", "clean flagged", "AUROC together", "best of one detector")
    rows = []
    for name, runs in by_row(results).items():
        told, found = [run["flags"]["any"] for run in runs], sum(run["poison_found"] for run in runs)
        shares = [_mean(one["recall"] for one in told), _mean((one["false_positive_rate"] for one in told), digits=3)]
        together = _mean(run["fused"]["auroc"] for run in runs)
        answer = (Entry(f"{len(runs)}"), Entry(f"{found} of {len(runs)}"), *shares, together, Entry(_best(runs)))
        rows.append((name, answer))
    return [Table("What was found", "Flags of any kind; means over seeds.", columns, tuple(rows)), *_failed(results)]


def by_row(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Results that have figures, those of all seeds together: by name, then by rate, and the controls last."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        if "flags" in result:
            groups.setdefault(result["row"], []).append(result)

    def place(row: str) -> tuple[bool, str, float]:
        attack, rate = attack_and_rate(row)
        return not groups[row][0]["poison"], attack, rate or 0.0

    return {row: groups[row] for row in sorted(groups, key=place)}


def by_rank(runs: Iterable[Result]) -> list[str]:
    """The detectors, the one that ranks best by its mean first; it takes the truth to choose it."""
    told: dict[str, list[tuple[float, float]]] = {}
    for run in runs:
        for name, figures in run["detectors"].items():
            ranked = told.setdefault(name, [])
            if figures["auroc"] is not None:
                ranked.append((figures["auroc"], figures["recall_at_0.1_percent"]))

    def place(name: str) -> tuple[float, float, str]:
        ranked = told[name]
        means = [sum(column) / len(ranked) for column in zip(*ranked, strict=True)] if ranked else [-1.0, -1.0]
        return -means[0], -means[1], name

    return sorted(told, key=place)


def _best(runs: Sequence[Result]) -> str:
    """The detector that ranks best, chosen with the truth in hand."""
    for best in by_rank(runs):
        mean = _mean(run["detectors"].get(best, {}).get("auroc") for run in runs)
        return _NONE if mean.heat is None else f"{best} {mean.text}"
    return _NONE


def _failed(results: Sequence[Result]) -> list[Table]:
    rows = tuple((result["name"], (Entry(result["failed"]),)) for result in results if "failed" in result)
    says = "These cells are not, or not wholly, in the other tables."
    return [Table("Failed", says, ("cell", "why"), rows)] if rows else []


def _answers(groups: Mapping[str, Sequence[Result]]) -> Table:
    """What was flagged, without anybody's help with the threshold."""
    flags = [f"{what} flagged ({reading})" for reading in FLAGS for what in ("poison", "clean")]
    columns = ("set", "runs", "found", *flags, "cover flagged", "incomplete scans", "seconds")
    says = (
        "What the scan flagged at its own threshold, by kind of flag; cover samples are neither poison nor clean and "
        "are counted apart. 'found' is the answer for the whole set. Mean over seeds, with the 95 % t-interval: few "
        "seeds make it wide, and seeds that agree by chance make it narrow."
    )
    rows = tuple((name, _answer(runs)) for name, runs in groups.items())
    return Table("At the tool's own threshold", says, columns, rows)


def _answer(runs: Sequence[Result]) -> tuple[Entry, ...]:
    """One row of it."""
    found = sum(run["poison_found"] for run in runs)
    flags = []
    for reading in FLAGS:
        told = [run["flags"][reading] for run in runs]
        flags.append(_mean(one["recall"] for one in told))
        flags.append(replace(_mean((one["false_positive_rate"] for one in told), digits=3), heat=None))
    flagged, cover = (sum(run["flags"]["any"][part] for run in runs) for part in ("cover_flagged", "cover"))
    unfinished = sum(run["exit_code"] == 2 for run in runs)
    seconds = sum(run["seconds"]["poisoning"] + run["seconds"]["scanning"] for run in runs) / len(runs)
    last = (f"{flagged} of {cover}" if cover else _NONE, f"{unfinished}" if unfinished else _NONE, f"{seconds:.0f}")
    return (Entry(str(len(runs))), Entry(f"{found} of {len(runs)}"), *flags, *map(Entry, last))


def _ranking(measure: str, groups: Mapping[str, Sequence[Result]]) -> Table:
    """How each detector ranks poison above clean samples."""
    detectors = by_rank(run for runs in groups.values() for run in runs)
    rows = []
    for name, runs in groups.items():
        entries = [
            _mean(run["detectors"][detector][measure] for run in runs if detector in run["detectors"])
            for detector in detectors
        ]
        rows.append((name, (_mean(run["fused"][measure] for run in runs), *entries)))
    auroc = measure == "auroc"
    says = (
        "The chance that a poisoned sample scores higher than a clean one: 50 % is chance."
        if auroc
        else "At the threshold of an oracle that knows the clean samples: what a detector could do, not what it does."
    )
    return Table(_MEASURES[measure], says, ("set", FUSED, *detectors), tuple(rows), hot=True, centred=auroc)


def _victims(groups: Mapping[str, Sequence[Result]]) -> Table:
    """What victims do with and without what was flagged."""
    rows = []
    for name, told in groups.items():
        for arm, meaning in ARMS.items():
            removed = sum(one["removed"].get(arm, 0) for one in told) / len(told)
            shares = [_told(pooled([[one[of] for one in run["arms"][arm]] for run in told])) for of in MEASURES]
            rows.append((f"{name}: {arm}", (Entry(meaning), Entry(f"{removed:.0f}"), *shares)))
    success = sorted({one["says"] for told in groups.values() for one in told})
    says = f"Success: {' or '.join(success)}. {POOLED}"
    return Table("Victims", says, ("set", "trained on", "removed", "success", "clean accuracy"), tuple(rows))


def _changes(groups: Mapping[str, Sequence[Result]]) -> Table:
    """How the victims of two arms differ, seed by seed."""
    rows = []
    for name, told in groups.items():
        for arm, other in DIFFERENCES:
            spread = [_told(pooled(_differences(told, arm, other, of)), signed=True) for of in MEASURES]
            rows.append((f"{name}: {arm} - {other}", tuple(spread)))
    says = f"Victim by victim, from the same seed; an interval that holds zero shows no difference. {POOLED}"
    return Table("What removing changes", says, ("set", "success", "clean accuracy"), tuple(rows))


def _differences(told: Sequence[Result], arm: str, other: str, measure: str) -> list[list[float]]:
    """For each poisoned set, what each victim of one arm does more than that of the other."""
    pairs = [zip(one["arms"][arm], one["arms"][other], strict=True) for one in told]
    return [[ours[measure] - theirs[measure] for ours, theirs in pair] for pair in pairs]


def pooled(sets: Sequence[Sequence[float]]) -> Interval:
    """Victims of one set share its poison, so they count as one where there are several sets.

    >>> pooled([[0.0, 1.0], [0.5]]).runs, pooled([[0.0, 1.0]]).runs
    (2, 2)
    """
    return over_seeds(sets[0] if len(sets) == 1 else [sum(victims) / len(victims) for victims in sets])


def _mean(values: Iterable[float | None], digits: int = 1) -> Entry:
    """The mean of a share over runs, those left out that have none; as hot as it is high."""
    known = [value for value in values if value is not None]
    if not known:
        return Entry(_NONE)
    interval = over_seeds(known)
    return replace(_told(interval, digits=digits), heat=interval.mean)


def _told(interval: Interval, *, digits: int = 1, signed: bool = False) -> Entry:
    """A mean of shares and its interval, of which no part lies where no share can.

    >>> _told(Interval(0.5, None, None, 1)).full, _told(Interval(0.9, 0.7, 1.1, 3)).full
    ('50.0 %', '90.0 % (70.0 to 100.0)')
    >>> _told(Interval(-0.5, -0.6, -0.4, 3), signed=True).full
    '-50.0 % (-60.0 to -40.0)'
    """

    def said(share: float) -> str:
        return f"{100 * max(-1.0 if signed else 0.0, min(1.0, share)):{'+' if signed else ''}z.{digits}f}"

    spread = "" if interval.low is None or interval.high is None else f"{said(interval.low)} to {said(interval.high)}"
    return Entry(f"{said(interval.mean)} %", spread)
