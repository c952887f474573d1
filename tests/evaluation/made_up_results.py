"""Scans and results as they could have been, so that tests need not wait for real ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from sanitizer.evaluation.curves import thinned
from sanitizer.evaluation.ranking import auroc
from sanitizer.evaluation.retraining import ARMS
from sanitizer.pipeline import ScanSettings
from sanitizer.progress import SILENT, Progress
from sanitizer.record import Verdict
from sanitizer.sources.base import open_source


def verdict(rows: dict[str, tuple[str, float]], *, incomplete: tuple[str, ...] = ()) -> Verdict:
    """A verdict that gives every id a kind of flag and a score; one more item is no sample."""
    kinds, scores = [kind for kind, _ in rows.values()], [score for _, score in rows.values()]
    return Verdict(
        pa.table(
            {
                "id": [*rows, "notes.txt"],
                "status": ["scanned"] * len(rows) + ["ignored"],
                "suspicious": [bool(kind) for kind in kinds] + [False],
                "kind": [*kinds, ""],
                "score": pa.array([*scores, None], pa.float64()),
                "score_lof": pa.array([*(-score for score in scores), None], pa.float64()),
            }
        ),
        {
            "answer": {"poison_found": "planted" in kinds},
            "counts": {"scanned": len(rows), "unreadable": 0, "refused": 0, "ignored": 1},
            "detectors": {"run": [], "not_run": []},
            "incomplete": list(incomplete),
            "timings": {"reading": 0.5},
        },
    )


class Scanner:
    """Stands in for a scan: flags what ends with a suffix, and keeps what it was handed."""

    def __init__(self, suffix: str = "0.png", look: Callable[[Path], None] = lambda root: None) -> None:
        self.calls: list[tuple[str, ScanSettings]] = []
        self._suffix, self._look = suffix, look

    def __call__(self, source: str, out: None, settings: ScanSettings, progress: Progress = SILENT) -> Verdict:
        """A verdict on every image, whatever it shows."""
        self.calls.append((source, settings))
        self._look(Path(source))
        ids = [found.id for found in open_source(source).stream() if found.content]
        return verdict({name: ("planted", 9.0) if name.endswith(self._suffix) else ("", 1.0) for name in ids})


def result(row: str = "badnets at 0.01", seed: int = 0, *, recall: float = 0.5, context: str = "c") -> dict[str, Any]:
    """A measured cell."""
    flags = {
        "poison": 10, "clean": 90, "cover": 5, "poison_flagged": 5, "clean_flagged": 0, "cover_flagged": 2,
        "recall": recall, "false_positive_rate": 0.0,
    }  # fmt: skip
    ranked = {"auroc": auroc([0, 1, 2], [False, True, False]), "recall_at_1_percent": recall}
    ranked |= {"recall_at_0.1_percent": 0.0, "curve": thinned([0, 1, 2], [False, True, False])}
    return {
        "row": row, "name": f"{row}, seed {seed}", "context": context, "poison": 10, "poison_found": True,
        "exit_code": 1, "flags": dict.fromkeys(("planted", "label", "any"), flags), "detectors": {"lof": ranked},
        "fused": ranked, "seconds": {"poisoning": 1.0, "scanning": 2.0},
    }  # fmt: skip


def control(seed: int = 0) -> dict[str, Any]:
    """A measured cell without poison."""
    made = result("none", seed)
    nothing = dict.fromkeys(("auroc", "recall_at_1_percent", "recall_at_0.1_percent", "curve"))
    flags = made["flags"]["any"] | {"poison": 0, "poison_flagged": 0, "cover": 0, "cover_flagged": 0, "recall": None}
    return made | {
        "poison": 0, "poison_found": False, "exit_code": 0, "flags": dict.fromkeys(made["flags"], flags),
        "detectors": {"lof": nothing}, "fused": nothing,
    }  # fmt: skip


def older(made: dict[str, Any]) -> dict[str, Any]:
    """The same cell as it was measured before curves were kept."""

    def without(ranked: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in ranked.items() if name != "curve"}

    told = {name: without(ranked) for name, ranked in made["detectors"].items()}
    return made | {"detectors": told, "fused": without(made["fused"])}


def retrained(before: list[float], after: list[float]) -> dict[str, Any]:
    """What victims would have done."""
    arms = dict.fromkeys(ARMS, before) | {"after": after, "perfect": [0.0] * len(before)}
    return {
        "says": "answers as the attacker hopes",
        "removed": {"after": 5, "random": 5, "perfect": 10},
        "arms": {arm: [{"success": one, "clean_accuracy": 0.8} for one in values] for arm, values in arms.items()},
    }
