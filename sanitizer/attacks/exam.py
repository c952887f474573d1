"""The exam: what a victim of an attack is shown after training, and which answers mean that the attack succeeded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sanitizer.sources.base import Pixels


@dataclass(frozen=True)
class Exam:
    """Images, each with the answer that the attacker hopes for, or hopes to prevent."""

    images: Sequence[Pixels]  # each (h, w, 3) uint8
    answers: NDArray[np.int64]
    goal: Literal["says", "avoids"] = "says"

    def successes(self, said: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each answer of a victim is a success of the attack.

        >>> Exam([], np.array([1, 2])).successes(np.array([1, 1]))
        array([ True, False])
        """
        return np.asarray(said == self.answers if self.goal == "says" else said != self.answers)
