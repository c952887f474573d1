"""What a gate came to: the answer, each check with what was expected and what came, the figures behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sanitizer.policy import Policy
from sanitizer.record import Verdict

WITHIN, ABOVE, CANNOT_VOUCH = 0, 1, 2
ANSWERS = {
    WITHIN: "The data is within the policy.",
    ABOVE: "The data is above the policy.",
    CANNOT_VOUCH: "Nothing can vouch for the data.",
}


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    passed: bool
    said: str  # a sentence: what came, and what was expected
    code: int = CANNOT_VOUCH  # what the answer becomes where it did not pass


@dataclass(frozen=True)
class ClassCount:
    """How much of one class is flagged."""

    name: str
    size: int
    flagged: int
    above: bool  # more than the policy allows
    reason: str  # what the scan said of the class


@dataclass(frozen=True, eq=False)
class Outcome:
    """Whether training may start, and why not."""

    policy: Policy
    checks: tuple[Check, ...]
    verdict: Verdict | None = None  # None where there is none that can be trusted
    digest: str = ""  # of the verdict, as its manifest says
    flagged: int = 0  # samples that count: of a kind in ``fail_on``, and not known to the baseline
    known: int = 0  # flagged samples that the baseline excuses
    classes: tuple[ClassCount, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def code(self) -> int:
        """0: within the policy. 1: above it. 2: nothing can vouch for the data; 2 outweighs 1.

        Without a verdict or without checks nothing was looked at, and nothing is within anything.
        """
        if self.verdict is None or not self.checks:
            return CANNOT_VOUCH
        return max((check.code for check in self.failed), default=WITHIN)

    @property
    def ok(self) -> bool:
        """Training may start."""
        return self.code == WITHIN

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that did not pass, the worst first."""
        return tuple(sorted((check for check in self.checks if not check.passed), key=lambda check: -check.code))

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why not, a sentence each; empty where training may start."""
        return tuple(check.said for check in self.failed)

    @property
    def answer(self) -> str:
        """The answer in words."""
        return ANSWERS[self.code]

    def as_dict(self) -> dict[str, Any]:
        """Everything but the rows of the verdict, as JSON can hold it."""
        summary = self.verdict.summary if self.verdict else {}
        return {
            "code": self.code,
            "ok": self.ok,
            "answer": self.answer,
            "reasons": list(self.reasons),
            "checks": [asdict(check) for check in self.checks],
            "counts": dict(self.counts),
            "flagged": self.flagged,
            "known": self.known,
            "classes": [asdict(one) for one in self.classes],
            "verdict": {"digest": self.digest, "answer": summary.get("answer")} if self.verdict else None,
            "policy": {
                name: str(value) if isinstance(value, Path) else value for name, value in asdict(self.policy).items()
            },
        }
