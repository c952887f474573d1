"""Everything that the template prints, already cut to what a page can hold."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sanitizer.actions.page import dynamics, facts, histogram, maps
from sanitizer.actions.page.agreement import agreement
from sanitizer.actions.page.cards import MAX_REASONS, samples
from sanitizer.actions.page.exhibits import Exhibits
from sanitizer.actions.page.patterns import patterns
from sanitizer.actions.page.pictures import Pictures
from sanitizer.actions.page.words import MAX_REASON
from sanitizer.record import Verdict
from sanitizer.sources.base import Status

MAX_CLASSES = 300
MAX_NOT_SCANNED = 200


def context(verdict: Verdict, exhibits: Exhibits) -> dict[str, Any]:
    """The names that the templates know."""
    pictures = Pictures(verdict, exhibits)
    # In the order of what a page that fills up should keep.
    shown_patterns = patterns(verdict, pictures)
    shown_samples = samples(verdict, pictures)
    places = {card.row["id"]: card.place for card in shown_samples.cards}
    return {
        "patterns": shown_patterns,
        "samples": shown_samples,
        "maps": maps.maps(pictures, places),
        "histogram": histogram.histogram(verdict),
        "agreement": agreement(verdict),
        "dynamics": dynamics.dynamics(verdict, exhibits),
        "illustrated": exhibits.illustrated,
        "heights": {"histogram": histogram.HEIGHT, "map": maps.HEIGHT, "dynamics": dynamics.HEIGHT},
        "curve_size": (dynamics.CURVE_WIDTH, dynamics.CURVE_HEIGHT),
        "max_reason": MAX_REASON,
        "max_title": maps.MAX_TITLE,
        "max_reasons": MAX_REASONS,
        **_classes(verdict),
        **_not_scanned(verdict),
        **_said(verdict),
    }


def _classes(verdict: Verdict) -> dict[str, Any]:
    classes = sorted(verdict.summary["classes"], key=facts.suspicion)
    calibration = verdict.summary["calibration"]
    evidence = [entry["score"] or 0.0 for entry in classes] + [calibration.get("class_margin", 1.0)]
    return {
        "classes": classes[:MAX_CLASSES],
        "more_classes": max(len(classes) - MAX_CLASSES, 0),
        "most_evidence": max(evidence),
        "labelled": _labelled(verdict),
    }


def _labelled(verdict: Verdict) -> bool:
    return bool(verdict.summary["classes"]) or verdict.table["label_name"].null_count < verdict.table.num_rows


def _not_scanned(verdict: Verdict) -> dict[str, Any]:
    table = verdict.table
    lost = table.filter(pc.is_in(table["status"], pa.array([Status.UNREADABLE, Status.REFUSED])))
    first = lost.sort_by([("status", "ascending"), ("id", "ascending")]).slice(0, MAX_NOT_SCANNED)
    return {
        "not_scanned": first.select(["id", "status", "reasons"]).to_pylist(),
        "more_not_scanned": max(lost.num_rows - MAX_NOT_SCANNED, 0),
    }


def _said(verdict: Verdict) -> dict[str, Any]:
    summary = verdict.summary
    return {
        "summary": summary,
        "tone": facts.tone(verdict),
        "digest": verdict.digest,
        "model": facts.looked(summary["model"]),
        "reference": facts.looked(summary.get("reference") or {}),
        "not_run": facts.not_run(summary["detectors"]["not_run"]),
        "visible": facts.visible(summary["calibration"], verdict.counts["scanned"]),
        "threshold": facts.threshold(summary["calibration"], labelled=_labelled(verdict)),
    }
