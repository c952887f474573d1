"""A made-up scan: a handful of samples, their census, and the verdict that a scan could have come to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sanitizer.record import Verdict
from sanitizer.sources.base import Found, Holds, Pixels, Sample, Status, digest_of
from sanitizer.sources.decode import fit

SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "digest": pa.string(),
        "view_digest": pa.string(),
        "status": pa.string(),
        "label": pa.int64(),
        "label_name": pa.string(),
        "suspicious": pa.bool_(),
        "kind": pa.string(),
        "score": pa.float64(),
        "p_value": pa.float64(),
        "score_spectral": pa.float64(),
        "score_density": pa.float64(),
        "reasons": pa.list_(pa.string()),
        "nearest": pa.list_(pa.string()),
    }
)


def row(name: str, label_name: str | None = "cat", **columns: Any) -> dict[str, Any]:
    """One row of a verdict table: a scanned sample that nothing was found against, unless told otherwise."""
    scanned = {"status": "scanned", "suspicious": False, "kind": "", "score": 0.25, "p_value": 0.5}
    return {
        "id": name,
        "digest": digest_of(name.encode(errors="surrogatepass")),
        "view_digest": "0" * 64,
        "label": 0,
        "label_name": label_name,
        "score_spectral": 0.125,
        "score_density": 3.5,
        "reasons": [],
        "nearest": [],
        **scanned,
        **columns,
    }


def flagged(name: str, label_name: str | None = "cat", **columns: Any) -> dict[str, Any]:
    """A row that was found to be planted."""
    return row(name, label_name, **{"suspicious": True, "kind": "planted", "score": 9.0, "p_value": 0.001, **columns})


def unread(name: str, status: str = "unreadable", **columns: Any) -> dict[str, Any]:
    """A row of an item that was never scanned, and has no digest."""
    none = dict.fromkeys(("digest", "view_digest", "label", "score", "p_value", "score_spectral", "score_density"))
    return row(name, **{**none, "status": status, "label_name": None, **columns})


def make_verdict(rows: Sequence[dict[str, Any]], **summary: Any) -> Verdict:
    """The verdict over ``rows`` with a summary that fits them; ``summary`` replaces parts of it."""
    found = [entry for entry in rows if entry["suspicious"]]
    names = sorted({entry["label_name"] for entry in rows if entry["label_name"]})
    planted = sum(entry["kind"] == "planted" for entry in found)
    sentence = f"{planted} planted samples found." if planted else "No planted samples found."
    made = {
        "tool": "dataset-sanitizer",
        "version": "0.1.0",
        "source": "/data/cats",
        "answer": {
            "poison_found": planted > 0,
            "planted": planted,
            "label_suspects": len(found) - planted,
            "sentence": sentence,
            "power": "A set of this size reveals shares of 1 % and more.",
        },
        "counts": {str(status): sum(entry["status"] == status for entry in rows) for status in Status},
        "classes": [
            {
                "name": name,
                "size": sum(entry["label_name"] == name for entry in rows),
                "suspicious": sum(entry["label_name"] == name for entry in found),
                "label_suspects": 0,
                "score": 1.5,
                "hidden": any(entry["label_name"] == name for entry in found),
                "reason": "two groups" if found else "",
            }
            for name in names
        ],
        "calibration": {
            "kind": "self",
            "class_margin": 1.25,
            "size": len(rows),
            "says": "Calibrated on the set itself.",
        },
        "detectors": {
            "run": [{"name": "spectral", "settings": {"rank": 3}, "says": "outliers along the main axis"}],
            "not_run": [{"name": "loss", "reason": "no network was trained"}],
        },
        "parameters": {"max_drop": 0.2, "budget": "standard"},
        "versions": {"numpy": "2.0"},
        "seed": 0,
        "timings": {"probe": 12.5},
        "notes": [],
        "incomplete": [],
        "view": "RGB8, 32x32",
        "model": {"kind": "probe", "digest": "ab" * 32, "epochs": 8},
        "reference": None,
        "device": "cpu",
    }
    return Verdict(pa.Table.from_pylist(list(rows), schema=SCHEMA), made | summary)


@dataclass(frozen=True)
class FakeCensus:
    """The samples and their pixels, in memory."""

    samples: tuple[Sample, ...]
    pixels: tuple[Pixels, ...]
    holds: Holds = "images"

    def native_side(self) -> int:
        """All of them are equally large."""
        return self.pixels[0].shape[0] if self.pixels else 0

    def views(self, size: int, rows: Sequence[int] | None = None) -> Pixels:
        """The pixels of ``rows`` as squares."""
        return np.stack([fit(self.pixels[row], size) for row in (range(len(self.samples)) if rows is None else rows)])


def make_census(verdict: Verdict, side: int = 32, *, holds: Holds = "images") -> FakeCensus:
    """A census with noise for every scanned row, and for the trusted samples that are near to one."""
    rng = np.random.default_rng(0)
    rows = [entry for entry in verdict.table.to_pylist() if entry["status"] == "scanned"]
    names = {entry["id"]: entry["digest"] for entry in rows}
    names |= {near: "0" for entry in rows for near in entry["nearest"] if near.startswith("trusted:")}
    samples = [Sample(name, digest, "", 0, (side, side)) for name, digest in names.items()]
    pixels = tuple(rng.integers(0, 256, (len(samples), side, side, 3), np.uint8))
    return FakeCensus(tuple(samples), pixels, holds)


#: What a scan that compared with trusted samples says about it.
TRUSTED = {
    "kind": "trusted",
    "size": 999,
    "smallest_visible": 1,
    "fdr": 0.05,
    "says": "Calibrated on 999 trusted samples.",
    "digest": "ab" * 32,
}


@dataclass
class FakeSource:
    """A source in memory, to be changed by a test: id -> content and label name."""

    items: dict[str, tuple[bytes | Status, str | None]]
    uri: str = "memory"
    root: Path = Path("/nowhere")
    class_names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.class_names = tuple(sorted({name for _, name in self.items.values() if name}))

    def stream(self, wanted: frozenset[str] | None = None) -> Iterator[Found]:
        """Every item; those that are a status in place of content were not read."""
        for name, (content, label_name) in self.items.items():
            label = self.class_names.index(label_name) if label_name else None
            if isinstance(content, Status):
                yield Found(name, label, None, content, "because")
            elif wanted is None or name in wanted:
                yield Found(name, label, content, Status.SCANNED)
