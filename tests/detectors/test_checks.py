"""The kit catches detectors that break a rule, and says which."""

from collections.abc import Iterator

import numpy as np
import pytest

from detectors.base import Detector, Evidence, by_class
from detectors.checks import ConformanceError, auroc, check_detector, checks_for, planted
from detectors.density import KDistance


class Spread(Detector):
    """A sound detector, for others to spoil: the distance to the class mean."""

    needs = ("feature",)
    sees = ("dispersed",)
    says = "It lies far from the mean of its class."

    def _score(self, evidence: Evidence) -> np.ndarray:
        feature, scores = evidence.space("feature"), np.zeros(len(evidence))
        for _, rows in by_class(evidence):
            scores[rows] = np.linalg.norm(feature[rows] - feature[rows].mean(axis=0), axis=1)
        return scores


class Flipped(Spread):
    """Calls the usual suspicious."""

    def _score(self, evidence: Evidence) -> np.ndarray:
        return -super()._score(evidence)


class Random(Spread):
    """Adds noise from the global generator."""

    def _score(self, evidence: Evidence) -> np.ndarray:
        return super()._score(evidence) + 0.01 * np.random.normal(size=len(evidence))


class Mutating(Spread):
    """Writes into a space that others share."""

    def _score(self, evidence: Evidence) -> np.ndarray:
        scores = super()._score(evidence)
        evidence.spaces["feature"][:] = 0
        return scores


class Ordered(Spread):
    """Prefers what is listed late."""

    def _score(self, evidence: Evidence) -> np.ndarray:
        return super()._score(evidence) + 1e-3 * np.arange(len(evidence))


class Uncentred(Spread):
    """Takes the origin for the middle of the class."""

    def _score(self, evidence: Evidence) -> np.ndarray:
        return np.linalg.norm(evidence.space("feature"), axis=1)


class NotFinite(Spread):
    """Gives up on a class."""

    def _score(self, evidence: Evidence) -> np.ndarray:
        return np.where(evidence.labels == 0, np.nan, super()._score(evidence))


class TooShort(Spread):
    """Forgets the last sample."""

    def _score(self, evidence: Evidence) -> np.ndarray:
        return super()._score(evidence)[:-1]


class Undeclared(Spread):
    """Uses features without saying so."""

    needs = ()


class Remembering(Spread):
    """Keeps its last result on itself."""

    def _score(self, evidence: Evidence) -> np.ndarray:
        self.last = super()._score(evidence)
        return self.last


class Claimless(Spread):
    """Claims to see nothing."""

    sees = ()


class Positional(Spread):
    """Takes a setting by position."""

    def __init__(self, k: int = 3) -> None:
        self.k = k


class Converting(Spread):
    """Stores something else than it was given."""

    def __init__(self, *, k: int = 3) -> None:
        self.k = [k]


class Fragile(Spread):
    """Fails on a class of one sample."""

    def _score(self, evidence: Evidence) -> np.ndarray:
        if min(len(rows) for _, rows in by_class(evidence)) < 2:
            raise ZeroDivisionError
        return super()._score(evidence)


class Stationary(Spread):
    """Holds what cannot be sent to another process."""

    def __init__(self) -> None:
        self.measure = lambda rows: rows


class Silent(Spread):
    """Skips the check for missing evidence."""

    def _require(self, evidence: Evidence) -> None:
        pass


class Presuming(Spread):
    """Claims to need no labels, and counts them."""

    uses_labels = False

    def _score(self, evidence: Evidence) -> np.ndarray:
        return super()._score(evidence) / np.bincount(evidence.labels)[evidence.labels]


class WrongClass(Spread):
    """Always blames the last class."""

    sees = ("dispersed", "shifted")

    def _class_scores(self, evidence: Evidence) -> np.ndarray:
        return np.arange(len(evidence.classes))


class Overflowing(Spread):
    """Computes in the precision that features happen to be stored in."""

    def _score(self, evidence: Evidence) -> np.ndarray:
        scores = np.zeros(len(evidence))
        for _, rows in by_class(evidence):
            own = evidence.spaces["feature"][rows]
            scores[rows] = (((own - own.mean(axis=0)) * own.dtype.type(3e4)) ** 2).sum(axis=1)
        return scores


WRONG = [
    (Flipped(), "ranks_planted_poison_above_clean"),
    (Random(), "uses_no_global_randomness"),
    (Mutating(), "leaves_the_evidence_untouched"),
    (Ordered(), "does_not_depend_on_the_order"),
    (Uncentred(), "moving_the_origin_changes_nothing"),
    (NotFinite(), "gives_one_finite_score_a_sample"),
    (TooShort(), "gives_one_finite_score_a_sample"),
    (Undeclared(), "declares_all_it_uses"),
    (Remembering(), "keeps_no_state"),
    (Claimless(), "declares_what_it_sees"),
    (Positional(), "settings_are_keyword_only_and_kept"),
    (Converting(), "settings_are_keyword_only_and_kept"),
    (Fragile(), "survives_degenerate_sets"),
    (Stationary(), "travels_between_processes"),
    (Silent(), "names_missing_evidence"),
    (Presuming(), "scores_a_set_without_labels"),
    (WrongClass(), "ranks_the_planted_class_first"),
    (Overflowing(), "accepts_half_precision"),
]


def broken_rules(detector: Detector) -> Iterator[str]:
    """The rules that a detector breaks."""
    for check in checks_for(detector):
        try:
            check()
        except ConformanceError:
            yield check.name


def test_a_sound_detector_passes() -> None:
    """The detector that the others spoil breaks no rule."""
    check_detector(Spread())


@pytest.mark.parametrize(("detector", "rule"), WRONG, ids=[repr(detector) for detector, _ in WRONG])
def test_a_wrong_detector_breaks_the_rule_of_that_name(detector: Detector, rule: str) -> None:
    """Each mistake is caught by its rule, and ``check_detector`` names that rule and the detector."""
    assert rule in set(broken_rules(detector))
    with pytest.raises(ConformanceError, match=rule) as caught:
        check_detector(detector)
    assert repr(detector) in str(caught.value)


def test_every_rule_has_a_detector_that_breaks_it() -> None:
    """No rule is there in vain."""
    rules = {check.name for check in checks_for(Spread())}
    assert rules - {rule for _, rule in WRONG} == {"refuses_a_set_without_labels"}
    assert "refuses_a_set_without_labels" in set(broken_rules(Silent()))


def test_every_rule_says_what_it_holds() -> None:
    """The docstring of a rule is what a plugin's author gets to read."""
    assert all(check.rule.__doc__ for check in checks_for(KDistance()))


def test_global_randomness_is_left_as_it_was() -> None:
    """Running the kit does not reseed the program that runs it."""
    np.random.seed(3)
    expected = np.random.normal()
    np.random.seed(3)
    check_detector(Spread())
    assert np.random.normal() == expected


@pytest.mark.parametrize("family", ["shifted", "tight", "dispersed", "mislabelled"])
def test_planted_evidence_is_the_same_every_time(family: str) -> None:
    """Same family and seed, same samples; another seed, others."""
    (first, truth), (again, _), (other, _) = (planted(family, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.spaces["feature"], again.spaces["feature"])
    assert not np.array_equal(first.spaces["feature"], other.spaces["feature"])
    assert len(set(first.labels[truth])) == 1
    assert (first.spaces["feature"] >= 0).all()


def test_planted_order_permutes_everything() -> None:
    """Labels, keys, spaces, graphs and truth follow their sample."""
    evidence, truth = planted("tight", seed=0)
    order = np.random.default_rng(1).permutation(len(evidence))
    shuffled, shuffled_truth = planted("tight", seed=0, order=order)
    np.testing.assert_array_equal(shuffled_truth, truth[order])
    np.testing.assert_array_equal(shuffled.keys, evidence.keys[order])
    np.testing.assert_array_equal(shuffled.spaces["loss"], evidence.spaces["loss"][order])
    for name in ("feature", "gradient/class", "feature/class~20"):
        ours, theirs = shuffled.neighbors[name], evidence.neighbors[name]
        np.testing.assert_allclose(ours.distances, theirs.distances[order])
        real = ours.indices >= 0
        np.testing.assert_array_equal(order[ours.indices][real], theirs.indices[order][real])


def test_a_planted_graph_excludes_the_sample_and_other_classes() -> None:
    """Neighbours in a class graph carry the sample's label, and a reference bounds who is found."""
    evidence, _ = planted("shifted", seed=0)
    graph = evidence.neighbors["feature/class~20"]
    real = graph.indices >= 0
    assert (evidence.labels[graph.indices] == evidence.labels[:, None])[real].all()
    assert (graph.indices != np.arange(len(evidence))[:, None]).all()
    assert len(np.unique(graph.indices[real])) == 20 * 4
    assert np.isinf(graph.distances[~real]).all()


def test_backdoors_start_high_and_end_low() -> None:
    """The history of losses tells planted families apart, and ends where the residual says."""
    for family, ends_low in (("shifted", True), ("tight", True), ("mislabelled", False)):
        evidence, truth = planted(family, seed=0)
        loss, typical = evidence.space("loss"), np.median(evidence.space("loss"), axis=0)
        assert (loss[truth, 0] > typical[0]).all()
        assert (np.median(loss[truth, -1]) < typical[-1]) is np.bool_(ends_low)


def test_auroc_counts_ties_half() -> None:
    """Equal scores for all is chance; a perfect ranking is 1, its reverse 0."""
    truth = np.array([False, False, True, True])
    assert [auroc(np.array(s, float), truth) for s in ([0, 0, 0, 0], [0, 1, 2, 3], [3, 2, 1, 0])] == [0.5, 1, 0]
