"""What the summary of a verdict says, in the words of the page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sanitizer.record import Verdict

_SETTINGS = re.compile(r"^\w+\([^()]*\) ")


def tone(verdict: Verdict) -> str:
    """The colour of the answer: planted samples weigh most, then gaps in the scan, then hostile items."""
    if verdict.poison_found:
        return "planted"
    if verdict.incomplete or not verdict.counts["scanned"]:
        return "incomplete"
    return "refused" if verdict.counts["refused"] else "clear"


def looked(model: Mapping[str, Any]) -> str:
    """Who looked at the samples, in words; empty where nobody did.

    >>> looked({"kind": "vectors", "width": 32})
    'no network: ready-made vectors of 32 numbers, taken as they are'
    """
    match model.get("kind"):
        case "probe":
            return f"a probe: a small network trained on this very set, {model['epochs']} epochs"
        case "backbone":
            return f"{model['name']} ({model['architecture']}), a frozen network that was not trained on this set"
        case "vectors":
            return f"no network: ready-made vectors of {model['width']:,} numbers, taken as they are"
    return str(model.get("name", ""))


def not_run(detectors: Sequence[Mapping[str, str]]) -> list[tuple[str, str]]:
    """Names and reason, where detectors share one; a reason begins with the detector's settings, which say nothing.

    >>> not_run([{"name": "a", "reason": "A(k=3) needs labels"}, {"name": "b", "reason": "B() needs labels"}])
    [('a, b', 'needs labels')]
    """
    names: dict[str, list[str]] = {}
    for entry in detectors:
        names.setdefault(_SETTINGS.sub("", entry["reason"]), []).append(entry["name"])
    return [(", ".join(some), reason) for reason, some in names.items()]


def visible(calibration: Mapping[str, Any], scanned: int) -> str:
    """The smallest planted group that a trusted reference can reveal; empty without one."""
    if calibration["kind"] != "trusted":
        return ""
    fewest, size = calibration["smallest_visible"], f"{calibration['size']:,} trusted samples"
    if fewest > scanned:
        return f"With {size} nothing can be seen in a set of this size: give more of them."
    share = f"{fewest / max(1, scanned):.2%}".replace("%", " %")
    return f"With {size} the smallest planted group that can be seen has {fewest:,} samples, {share} of the set."


def threshold(calibration: Mapping[str, Any], *, labelled: bool) -> str:
    """What the verdict itself decided by, which is more than a line across the scores.

    >>> threshold({"kind": "self"}, labelled=False)
    'Without labels scores rank the samples, and flag none.'
    """
    if calibration["kind"] == "trusted":
        return (
            "The verdict compared every score with those of the trusted samples and flagged at a false discovery rate "
            f"of {calibration['fdr']:g} over the whole set; what is flagged also depends on how many are that high."
        )
    if not labelled:
        return "Without labels scores rank the samples, and flag none."
    margin = f" of {calibration['class_margin']:g}" if "class_margin" in calibration else ""
    return (
        f"The verdict judges classes first: only where class evidence reaches its threshold{margin} are samples "
        "flagged as planted, those that belong to what was found there. High scores in any other class flag nothing, "
        "and labels are doubted by odds, not by score. So no single line draws the verdict."
    )


def suspicion(entry: Mapping[str, Any]) -> tuple[bool, float, float, str]:
    """What the class table is sorted by, most suspicious first."""
    return not entry["hidden"], -entry["suspicious"] / max(entry["size"], 1), -(entry["score"] or 0.0), entry["name"]
