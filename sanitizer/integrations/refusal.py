"""A gate inside a training loop: nothing is trained on what does not pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sanitizer.errors import SanitizerError

if TYPE_CHECKING:
    from sanitizer.outcome import Outcome


class TrainingRefused(SanitizerError):
    """The data did not pass the gate; ``outcome`` says why."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(f"training refused: {' '.join(outcome.reasons) or outcome.answer}")
        self.outcome = outcome


class GateBeforeTraining:
    """The gate with its arguments, asked once: training that is resumed, or validated in between, is not asked again.

    Args:
        source: What would be trained on: a path, or a dataset in memory.
        policy: What is let through, or the TOML file that says so; nothing suspicious, if left out.
        settings: ``verdict``, ``settings``, ``out`` of ``sanitizer.gate``.
    """

    def __init__(self, source: Any, policy: Any = None, **settings: Any) -> None:
        self.source = source
        self.policy = policy
        self.settings: dict[str, Any] = settings
        self.outcome: Outcome | None = None

    def ask(self) -> Outcome:
        """The gate's answer; ``TrainingRefused`` unless it is yes."""
        from sanitizer.gate import gate
        from sanitizer.policy import Policy

        if self.outcome is None:
            self.outcome = gate(self.source, self.policy or Policy(), **self.settings)
        if not self.outcome.ok:
            raise TrainingRefused(self.outcome)
        return self.outcome
