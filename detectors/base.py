"""The contract between evidence and detectors: ``Evidence``, ``Neighbors``, ``Detector``."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeVar, cast, final

import numpy as np
from numpy.typing import NDArray

from detectors.precision import widened

T = TypeVar("T")
Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

#: The regimes of planted poison. "shifted": a second population beside the class; "tight": a dense clump;
#: "dispersed": isolated samples; "mislabelled": samples that look like another class.
Family = Literal["shifted", "tight", "dispersed", "mislabelled"]


class MissingEvidence(ValueError):
    """A detector needs something that this scan did not extract."""


@dataclass(frozen=True, eq=False)
class Neighbors:
    """The nearest neighbours of every sample, itself excluded, nearest first.

    Where a sample has fewer than k possible neighbours the row is padded: index -1, distance infinity.
    """

    distances: NDArray[np.float32]  # (n, k) Euclidean
    indices: NDArray[np.int64]  # (n, k)


@dataclass(frozen=True)
class Graph:
    """The name of a neighbour graph, ``SPACE[/class][~SIZE]``.

    ``/class`` searches within the sample's own label; ``~SIZE`` searches a reference of at most SIZE
    samples per group, drawn by content key, so that a planted clump cannot fill the neighbourhood.

    >>> Graph.parse("feature/class~256")
    Graph(space='feature', within_class=True, reference=256)
    """

    space: str
    within_class: bool = False
    reference: int | None = None

    @classmethod
    def parse(cls, name: str) -> Graph:
        """Read a graph's name; ``ValueError`` if it is none."""
        stem, _, size = name.partition("~")
        space, _, scope = stem.partition("/")
        if not space or scope not in ("", "class") or (size and not size.isdecimal()):
            raise ValueError(f"expected a graph named SPACE[/class][~SIZE], got {name!r}")
        return cls(space, scope == "class", int(size) if size else None)

    def reference_rows(self, keys: NDArray[np.uint64], rows: Rows) -> Rows:
        """Which of ``rows`` (one group) may be found as neighbours: the smallest content keys."""
        if self.reference is None or len(rows) <= self.reference:
            return rows
        return np.sort(rows[np.argsort(keys[rows], kind="stable")[: self.reference]])


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known about the samples, and nothing about which of them are poison.

    Row i of every array is sample i. ``keys`` are numbers drawn from each sample's content: the only
    randomness that a detector may use, for it travels with the sample whatever the order.
    """

    labels: NDArray[np.int64]  # (n,), all -1 where the set has none
    class_names: Sequence[str]
    keys: NDArray[np.uint64]  # (n,)
    spaces: Mapping[str, np.ndarray] = field(default_factory=dict)  # name -> (n, d)
    neighbors: Mapping[str, Neighbors] = field(default_factory=dict)  # graph name -> neighbours
    _made: dict[tuple[Hashable, ...], Any] = field(default_factory=dict, init=False, repr=False)  # see derived

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def classes(self) -> NDArray[np.int64]:
        """The labels that occur, ascending."""
        return np.unique(self.labels)

    def rows(self, label: int) -> Rows:
        """The samples that carry a label, ascending."""
        return self.derived(_by_label).get(label, np.empty(0, np.int64))

    def space(self, name: str) -> Floats:
        """A space as float64, which every formula here computes in."""
        return np.asarray(self.spaces[name], dtype=np.float64)

    def part(self, name: str, rows: Rows) -> Floats:
        """Some rows of a space as float64, which costs a fraction of the memory of ``space``.

        >>> evidence = Evidence(np.zeros(2, int), ["a"], np.arange(2), {"feature": np.array([[1], [2]], np.float16)})
        >>> evidence.part("feature", np.array([1]))
        array([[2.]])
        """
        return widened(np.take(self.spaces[name], rows, axis=0), np.float64)

    def derived(self, make: Callable[..., T], *given: Hashable) -> T:
        """``make(self, *given)``, made once: what several detectors want to know of the same evidence.

        It is kept as long as the evidence, so it has to be small beside the spaces.

        >>> evidence = Evidence(np.zeros(2, int), ["a"], np.arange(2))
        >>> evidence.derived(Evidence.rows, 0) is evidence.derived(Evidence.rows, 0)
        True
        """
        if (make, *given) not in self._made:
            self._made[make, *given] = make(self, *given)
        return cast(T, self._made[make, *given])


class Detector(ABC):
    """A scoring rule: ``score(evidence) -> (n,)``, higher = more suspicious.

    Subclasses declare what they need and which families of poison they must find, take keyword-only
    settings stored as given, and implement ``_score`` (and ``_class_scores`` if they can tell that a
    class hides a second population). They keep no state and make no decisions: thresholds live in
    ``sanitizer.verdict``.
    """

    #: Spaces and graphs (see ``Graph``) that must be in the evidence.
    needs: ClassVar[tuple[str, ...]] = ()
    neighbors: ClassVar[tuple[str, ...]] = ()
    #: Families of poison that the conformance kit plants and this detector must rank above clean samples.
    sees: ClassVar[tuple[Family, ...]] = ()
    #: True where scores compare samples with their label's class, so labels are required.
    uses_labels: ClassVar[bool] = True
    #: False where the origin of the feature space carries meaning (``residual`` and ``loss`` have one).
    origin_free: ClassVar[bool] = True
    #: The highest class score met on clean real data; None: class scores are shown, and decide nothing.
    innocent: ClassVar[float | None] = None
    #: True where a score, divided by the evidence against its class, is 0 for the rest of the class and 1 for the
    #: centre of the group that the evidence is about: so it is known who is on the way, and who is there.
    centred: ClassVar[bool] = False
    #: True where scores are log odds that another label fits a sample better than its own. With ``innocent`` they are
    #: heard only in classes whose score goes beyond it; such class scores convict no class.
    label_odds: ClassVar[bool] = False
    #: True where what it needs takes the network more than one glance: a scan asks it only if it has the time.
    costly: ClassVar[bool] = False
    #: One sentence for people: what a high score means.
    says: ClassVar[str] = ""

    @final
    def score(self, evidence: Evidence) -> Floats:
        """One finite score per sample; raises ``MissingEvidence`` that names what is absent."""
        self._require(evidence)
        return self._sound_scores(self._score(evidence), evidence)

    @final
    def class_scores(self, evidence: Evidence) -> Floats | None:
        """How strongly each of ``evidence.classes`` hides a second population; None if it cannot say."""
        self._require(evidence)
        return self._sound_class_scores(self._class_scores(evidence), evidence)

    @final
    def opinion(self, evidence: Evidence) -> tuple[Floats, Floats | None]:
        """Both at once, for those who find them together."""
        self._require(evidence)
        scores, class_scores = self._opinion(evidence)
        return self._sound_scores(scores, evidence), self._sound_class_scores(class_scores, evidence)

    @abstractmethod
    def _score(self, evidence: Evidence) -> Floats: ...

    def _class_scores(self, evidence: Evidence) -> Floats | None:  # noqa: ARG002 - for those who can tell
        return None

    def _opinion(self, evidence: Evidence) -> tuple[Floats, Floats | None]:
        return self._score(evidence), self._class_scores(evidence)

    def _sound_scores(self, found: Floats, evidence: Evidence) -> Floats:
        scores = np.asarray(found, dtype=np.float64)
        assert scores.shape == (len(evidence),), f"{self!r} returned {scores.shape} for {len(evidence)} samples"
        assert np.isfinite(scores).all(), f"{self!r} returned scores that are not finite"
        return scores

    def _sound_class_scores(self, found: Floats | None, evidence: Evidence) -> Floats | None:
        if found is None:
            return None
        scores = np.asarray(found, dtype=np.float64)
        classes = len(evidence.classes)
        assert scores.shape == (classes,), f"{self!r} returned class scores {scores.shape} for {classes} classes"
        assert np.isfinite(scores).all(), f"{self!r} returned class scores that are not finite"
        return scores

    def _require(self, evidence: Evidence) -> None:
        if self.uses_labels and len(evidence) and (evidence.labels < 0).all():
            raise MissingEvidence(f"{self!r} compares samples with their class; this set has no labels")
        for kind, wanted, have in (
            ("space", self.needs, evidence.spaces),
            ("neighbours", self.neighbors, evidence.neighbors),
        ):
            for name in wanted:
                if name not in have:
                    extracted = ", ".join(sorted(have)) or "none"
                    raise MissingEvidence(f"{self!r} needs {kind} {name!r}; this scan extracted: {extracted}")

    def __repr__(self) -> str:
        names = inspect.signature(type(self).__init__).parameters
        settings = ", ".join(f"{n}={getattr(self, n)!r}" for n in names if n != "self" and hasattr(self, n))
        return f"{type(self).__name__}({settings})"


class TwofoldDetector(Detector):
    """A detector whose two opinions, of samples and of classes, come out of the same look."""

    @abstractmethod
    def _opinion(self, evidence: Evidence) -> tuple[Floats, Floats]: ...

    def _score(self, evidence: Evidence) -> Floats:
        return self._opinion(evidence)[0]

    def _class_scores(self, evidence: Evidence) -> Floats:
        return self._opinion(evidence)[1]


def _by_label(evidence: Evidence) -> dict[int, Rows]:
    """The samples of every label that occurs, by sorting once: to look for each label by itself is quadratic."""
    order = np.argsort(evidence.labels, kind="stable")
    order.setflags(write=False)  # everybody is handed the same rows
    labels, starts = np.unique(evidence.labels[order], return_index=True)
    return dict(zip(labels.tolist(), np.split(order, starts[1:]), strict=True)) if len(labels) else {}


def by_class(evidence: Evidence) -> list[tuple[int, Rows]]:
    """Each label that occurs, with its rows."""
    return [(int(label), evidence.rows(int(label))) for label in evidence.classes]
