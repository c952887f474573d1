"""The conformance kit: the rules that every detector keeps, your own as well.

>>> from detectors.density import KDistance
>>> check_detector(KDistance())
"""

from __future__ import annotations

import inspect
import pickle
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from detectors.base import Detector, Evidence, Family, Floats, Graph, MissingEvidence
from detectors.planted import degenerate, planted, reordered, with_spaces

__all__ = ["Check", "ConformanceError", "auroc", "check_detector", "checks_for", "planted"]

SEEDS = (0, 1, 2)
ENOUGH = 0.9  # AUROC of a family that a detector claims to see


class ConformanceError(AssertionError):
    """A detector breaks a rule; the message names the rule and says what was seen."""


@dataclass(frozen=True)
class Check:
    """One rule, to be held against one detector by calling it."""

    name: str
    rule: Callable[[Detector], None]
    detector: Detector

    def __call__(self) -> None:
        """Raise ``ConformanceError`` if the detector breaks the rule."""
        try:
            self.rule(self.detector)
        except Exception as error:
            seen = str(error) if isinstance(error, ConformanceError) else f"{type(error).__name__}: {error}"
            raise ConformanceError(f"{self.detector!r} breaks the rule {self.name}: {seen}") from error


def check_detector(detector: Detector) -> None:
    """Hold every rule against a detector; raises ``ConformanceError`` at the first that it breaks."""
    for check in checks_for(detector):
        check()


def checks_for(detector: Detector) -> list[Check]:
    """Every rule as a check of its own, for ``pytest.mark.parametrize``."""
    return [Check(rule.__name__, rule, detector) for rule in RULES]


def auroc(scores: Floats, is_poison: NDArray[np.bool_]) -> float:
    """The chance that a poison scores above a clean sample, ties counting half.

    >>> auroc(np.array([0.1, 0.2, 0.9]), np.array([False, False, True]))
    1.0
    """
    poison = int(is_poison.sum())
    above = rankdata(scores)[is_poison].sum() - poison * (poison + 1) / 2
    return float(above / (poison * (len(scores) - poison)))


def declares_what_it_sees(detector: Detector) -> None:
    """At least one family in ``sees`` and a sentence in ``says``: a detector without a claim cannot be tested."""
    _expect(len(detector.sees) > 0, "sees is empty")
    _expect(bool(detector.says.strip()), "says is empty")


def settings_are_keyword_only_and_kept(detector: Detector) -> None:
    """Settings are keyword-only, stored as given under their own name, and shown by ``repr``."""
    for name, value in _settings(detector).items():
        _expect(f"{name}={value!r}" in repr(detector), f"repr does not show {name}={value!r}")
    again = type(detector)(**_settings(detector))
    for name, value in _settings(detector).items():
        _expect(getattr(again, name) is value, f"{name} was given {value!r} and stored as {getattr(again, name)!r}")


def gives_one_finite_score_a_sample(detector: Detector) -> None:
    """``score`` returns (n,) finite numbers."""
    evidence = _writable(_example(detector))
    scores = detector.score(evidence)
    _expect(scores.shape == (len(evidence),), f"shape {scores.shape} for {len(evidence)} samples")
    _expect(bool(np.isfinite(scores).all()), f"{(~np.isfinite(scores)).sum()} scores are not finite")


def leaves_the_evidence_untouched(detector: Detector) -> None:
    """Evidence is shared between detectors, so nobody writes into it."""
    evidence = _example(detector)
    before = {name: space.copy() for name, space in evidence.spaces.items()}
    try:
        detector.score(evidence)
    except ValueError as error:
        _expect("read-only" not in str(error), f"it writes into the evidence ({error})")
        raise
    for name, space in evidence.spaces.items():
        _expect(bool((space == before[name]).all()), f"the space {name!r} changed")


def ranks_planted_poison_above_clean(detector: Detector) -> None:
    """Every family in ``sees`` is found, over several seeds and across classes."""
    for family in detector.sees:
        for seed in SEEDS:
            evidence, is_poison = planted(family, seed=seed)
            found = auroc(detector.score(evidence), is_poison)
            _expect(found >= ENOUGH, f"AUROC {found:.3f} on {family!r} (seed {seed}), expected {ENOUGH}")


def ranks_the_planted_class_first(detector: Detector) -> None:
    """``class_scores`` is None, or one finite number a class, highest where a second population hides."""
    for family in detector.sees:
        for seed in SEEDS:
            evidence, is_poison = planted(family, seed=seed)
            scores = detector.class_scores(evidence)
            if scores is None:
                return
            _expect(scores.shape == evidence.classes.shape, f"shape {scores.shape} for {len(evidence.classes)} classes")
            _expect(bool(np.isfinite(scores).all()), f"class scores {scores} are not finite")
            target, first = evidence.labels[is_poison][0], evidence.classes[np.argmax(scores)]
            if family in ("shifted", "tight"):
                _expect(first == target, f"class {first} before {target}, which hides {family!r} (seed {seed})")


def uses_no_global_randomness(detector: Detector) -> None:
    """The same evidence gives the same scores, whatever the state of the global generators."""
    evidence = _example(detector)
    seen = []
    with _global_randomness_restored():
        for seed in (1, 2):
            random.seed(seed)
            np.random.seed(seed)
            seen.append(detector.score(evidence))
    _expect(bool((seen[0] == seen[1]).all()), f"{(seen[0] != seen[1]).sum()} scores differ between two runs")


def keeps_no_state(detector: Detector) -> None:
    """Scoring leaves the detector as it was: it can be shared by threads and scans."""
    fresh = type(detector)(**_settings(detector))
    before = {name: repr(value) for name, value in vars(fresh).items()}
    fresh.score(_example(fresh))
    fresh.class_scores(_example(fresh))
    after = {name: repr(value) for name, value in vars(fresh).items()}
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    _expect(not changed, f"scoring changed the attributes {', '.join(changed)}")


def does_not_depend_on_the_order(detector: Detector) -> None:
    """Listing the samples in another order permutes the scores and changes none."""
    evidence = _example(detector)
    order = np.random.default_rng(7).permutation(len(evidence))
    _expect_same(detector.score(reordered(evidence, order)), detector.score(evidence)[order], "after reordering")


def moving_the_origin_changes_nothing(detector: Detector) -> None:
    """Features have no zero of their own: only differences between samples count.

    Distances do not move with the origin, so the graphs stay. Gradients do (residual times feature).
    """
    used = {*detector.needs, *(Graph.parse(name).space for name in detector.neighbors)}
    if not detector.origin_free or used & {"residual", "gradient"}:
        return
    evidence = _example(detector)
    away = 10 * np.random.default_rng(7).normal(size=evidence.spaces["feature"].shape[1])
    moved = replace(evidence, spaces={**evidence.spaces, "feature": evidence.space("feature") + away})
    _expect_same(detector.score(moved), detector.score(evidence), "after moving the origin of 'feature'")


def survives_degenerate_sets(detector: Detector) -> None:
    """Tiny, constant, duplicated or one-dimensional sets get finite scores, never an exception."""
    for oddity, evidence in degenerate().items():
        try:
            scores, per_class = detector.score(evidence), detector.class_scores(evidence)
        except Exception as error:
            raise ConformanceError(f"{type(error).__name__} on {oddity}: {error}") from error
        _expect(bool(np.isfinite(scores).all()), f"scores that are not finite on {oddity}")
        _expect(per_class is None or bool(np.isfinite(per_class).all()), f"class scores not finite on {oddity}")


def names_missing_evidence(detector: Detector) -> None:
    """Without a space or a graph that it declares, a detector raises ``MissingEvidence`` with the name."""
    evidence = _example(detector)
    graphs = {name: evidence.neighbors[name] for name in detector.neighbors}
    for absent in detector.needs:
        spaces = {name: space for name, space in evidence.spaces.items() if name != absent}
        _expect_missing(detector, replace(evidence, spaces=spaces), absent)
    for absent in detector.neighbors:
        others = {name: graph for name, graph in graphs.items() if name != absent}
        _expect_missing(detector, replace(evidence, neighbors=others), absent)


def declares_all_it_uses(detector: Detector) -> None:
    """With what it declares and nothing more, the scores are the same."""
    evidence = _example(detector)
    declared = replace(
        evidence,
        spaces={name: evidence.spaces[name] for name in detector.needs},
        neighbors={name: evidence.neighbors[name] for name in detector.neighbors},
    )
    _expect_same(detector.score(declared), detector.score(evidence), "with only the declared evidence")


def refuses_a_set_without_labels(detector: Detector) -> None:
    """A detector that compares samples with their class says so where there are no classes."""
    if detector.uses_labels:
        evidence = _example(detector)
        _expect_missing(detector, replace(evidence, labels=np.full(len(evidence), -1)), "labels")


def scores_a_set_without_labels(detector: Detector) -> None:
    """A detector that claims to need no labels scores a set that has none."""
    if not detector.uses_labels:
        evidence = _example(detector)
        unlabelled = with_spaces(replace(evidence, labels=np.full(len(evidence), -1)), dict(evidence.spaces))
        scores = detector.score(unlabelled)
        _expect(bool(np.isfinite(scores).all()), f"{(~np.isfinite(scores)).sum()} scores are not finite")


def travels_between_processes(detector: Detector) -> None:
    """A detector can be sent to a worker, and scores the same there."""
    sent = pickle.loads(pickle.dumps(detector))  # noqa: S301  (our own bytes, made on this line)
    evidence = _example(detector)
    _expect_same(sent.score(evidence), detector.score(evidence), "after travelling")


def accepts_half_precision(detector: Detector) -> None:
    """Spaces are stored as float16 where that loses little; the scores must not notice."""
    evidence = _example(detector)
    half = with_spaces(evidence, {name: space.astype(np.float16) for name, space in evidence.spaces.items()})
    full_scores, half_scores = detector.score(evidence), detector.score(half)
    if np.ptp(full_scores) > 0:
        agreement = np.corrcoef(full_scores, half_scores)[0, 1]
        _expect(agreement > 0.99, f"scores from float16 correlate {agreement:.3f} with those from float64")


#: In this order: the first broken rule is the one that explains the others.
RULES: tuple[Callable[[Detector], None], ...] = (
    declares_what_it_sees,
    settings_are_keyword_only_and_kept,
    gives_one_finite_score_a_sample,
    leaves_the_evidence_untouched,
    uses_no_global_randomness,
    keeps_no_state,
    declares_all_it_uses,
    names_missing_evidence,
    refuses_a_set_without_labels,
    scores_a_set_without_labels,
    does_not_depend_on_the_order,
    moving_the_origin_changes_nothing,
    ranks_planted_poison_above_clean,
    ranks_the_planted_class_first,
    survives_degenerate_sets,
    accepts_half_precision,
    travels_between_processes,
)


def _expect(kept: bool, seen: str) -> None:
    if not kept:
        raise ConformanceError(seen)


def _expect_same(scores: Floats, expected: Floats, when: str) -> None:
    """Equal but for rounding, which is measured against the spread of the scores."""
    slack = 1e-6 * np.maximum(np.abs(expected), np.std(expected))
    differs = np.abs(scores - expected) > slack
    worst = np.max(np.abs(scores - expected), initial=0)
    _expect(not differs.any(), f"{differs.sum()} of {len(scores)} scores differ {when}, by up to {worst:.3g}")


def _expect_missing(detector: Detector, evidence: Evidence, name: str) -> None:
    try:
        detector.score(evidence)
    except MissingEvidence as error:
        _expect(name in str(error), f"the error does not name {name!r}: {error}")
    else:
        _expect(False, f"it scored without {name!r}")


def _example(detector: Detector) -> Evidence:
    family: Family = detector.sees[0] if detector.sees else "shifted"
    return planted(family, seed=SEEDS[0])[0]


def _writable(evidence: Evidence) -> Evidence:
    spaces = {name: space.copy() for name, space in evidence.spaces.items()}
    return replace(evidence, labels=evidence.labels.copy(), keys=evidence.keys.copy(), spaces=spaces)


def _settings(detector: Detector) -> dict[str, object]:
    """The constructor's arguments as the detector holds them."""
    if type(detector).__init__ is object.__init__:
        return {}
    _, *parameters = inspect.signature(type(detector).__init__).parameters.values()
    for parameter in parameters:
        _expect(parameter.kind is parameter.KEYWORD_ONLY, f"the setting {parameter} is not keyword-only")
        _expect(hasattr(detector, parameter.name), f"the setting {parameter.name} is not stored under its name")
    return {parameter.name: getattr(detector, parameter.name) for parameter in parameters}


@contextmanager
def _global_randomness_restored() -> Iterator[None]:
    state, numpy_state = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(state)
        np.random.set_state(numpy_state)
