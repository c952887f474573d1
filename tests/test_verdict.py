"""The decision: classes first, samples second, and never more than the caps allow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_opinions import (
    LABELS,
    SCORES,
    STRONG,
    TAIL,
    Deciding,
    Noticing,
    cases,
    cloud_with_tail,
    decided,
    evidence_over,
    opinion,
)

from sanitizer.verdict import (
    CLASS_MARGIN,
    LEAST_CLASS,
    LEAST_GROUP,
    MOST_OF_CLASS,
    SECOND_MARGIN,
    Calibration,
    Opinion,
    _restrained,
    fused_ranks,
)


def test_without_class_evidence_nothing_is_flagged() -> None:
    """However far out some samples lie: every class has odd ones."""
    found = decided(LABELS, {"one": opinion(SCORES, [0.5, 0.1]), "two": opinion(SCORES)})
    assert not found.suspicious.any()
    assert not found.poison_found
    assert not any(entry.hidden for entry in found.classes)
    assert (found.kind == "").all()


def test_a_planted_class_loses_its_tail() -> None:
    """Where class evidence is strong, those who stand apart are flagged, and nobody in other classes."""
    found = decided(LABELS, {"one": opinion(SCORES, [STRONG, 0.1])})
    np.testing.assert_array_equal(found.suspicious, TAIL)
    assert found.poison_found
    assert (found.kind[TAIL] == "planted").all()
    assert [(entry.hidden, entry.suspicious, entry.size) for entry in found.classes] == [
        (True, 12, 200),
        (False, 0, 100),
    ]
    assert found.classes[0].score == pytest.approx(STRONG / 2)
    assert "12 of 200" in found.classes[0].reason


@pytest.mark.parametrize(("share", "expected"), [(0.99, False), (1.01, True)])
def test_class_evidence_decides_at_its_margin(share: float, expected: bool) -> None:
    """Just below the margin above clean data nothing follows, just above it does."""
    found = decided(LABELS, {"one": opinion(SCORES, [2.0 * CLASS_MARGIN * share, 0.0])})
    assert found.poison_found is expected


def test_a_detector_without_a_known_innocence_decides_nothing() -> None:
    """Its class scores are shown; nobody knows what clean data would give."""
    found = decided(LABELS, {"one": opinion(SCORES, [1e9, 0.0], decides=False)})
    assert not found.suspicious.any()
    assert found.classes[0].score == 0


def test_the_strongest_detector_decides_with_its_own_scores() -> None:
    """Who is flagged follows from the scores of whoever found the class."""
    found = decided(LABELS, {"noise": opinion(SCORES[::-1], [0.1, 0.1]), "one": opinion(SCORES, [STRONG, 0.0])})
    np.testing.assert_array_equal(found.suspicious, TAIL)


FIRST, SECOND = np.arange(300) < 10, TAIL  # two groups of class 0
TWO_GROUPS = {
    "first": opinion(np.where(FIRST, 15.0, np.where(TAIL, 0.0, SCORES)), [STRONG, 0.0]),
    "second": opinion(SCORES, [STRONG, 0.0], detector=Noticing()),
}


@pytest.mark.parametrize("names", [("first", "second"), ("second", "first")])
def test_two_who_suspect_a_class_each_name_their_own(names: tuple[str, str]) -> None:
    """Both groups are planted, and every sample is told by whom it was named, whoever was asked first."""
    found = decided(LABELS, {name: TWO_GROUPS[name] for name in names})
    np.testing.assert_array_equal(found.suspicious, FIRST | SECOND)
    assert (found.kind[FIRST | SECOND] == "planted").all()
    assert {found.reasons[row] for row in np.flatnonzero(FIRST)} == {(Deciding.says,)}
    assert {found.reasons[row] for row in np.flatnonzero(SECOND)} == {(Noticing.says,)}


def test_whom_both_name_has_both_reasons() -> None:
    """The one who is surer of the class speaks first."""
    surer = opinion(2 * SCORES, [2 * STRONG, 0.0], detector=Noticing())
    found = decided(LABELS, {"one": opinion(SCORES, [STRONG, 0.0]), "surer": surer})
    np.testing.assert_array_equal(found.suspicious, TAIL)
    assert {found.reasons[row] for row in np.flatnonzero(TAIL)} == {(Noticing.says, Deciding.says)}


@pytest.mark.parametrize(("weight", "heard"), [(SECOND_MARGIN * 0.99, False), (SECOND_MARGIN * 1.01, True)])
def test_a_second_opinion_on_a_convicted_class_needs_less(weight: float, heard: bool) -> None:
    """But something: below that margin its group is an odd one, though another detector convicts the class."""
    unsure = opinion(TWO_GROUPS["first"].scores, [Deciding.innocent * weight, 0.0])
    assert not decided(LABELS, {"first": unsure}).suspicious.any()
    found = decided(LABELS, {"first": unsure, "second": TWO_GROUPS["second"]})
    np.testing.assert_array_equal(found.suspicious, FIRST | SECOND if heard else SECOND)
    assert any(Deciding.says in lines for lines in found.reasons) == heard


def test_a_second_suspicion_never_clears_anybody() -> None:
    """Whom one detector names stays named, and as surprising, whatever another says of the same class."""
    alone = decided(LABELS, {"second": TWO_GROUPS["second"], "first": opinion(TWO_GROUPS["first"].scores, [0.0, 0.0])})
    both = decided(LABELS, TWO_GROUPS)
    assert (both.suspicious >= alone.suspicious).all()
    assert (both.score >= alone.score).all()
    assert both.suspicious.sum() > alone.suspicious.sum()


@given(cases(), st.integers(0, 99), st.booleans())
def test_who_decides_nothing_changes_nothing(
    case: tuple[np.ndarray, dict[str, Opinion], float], seed: int, first: bool
) -> None:
    """A detector without a known innocence may add a reason; no p-value, no flag and no class moves."""
    labels, opinions, max_drop = case
    rng = np.random.default_rng(seed)
    scores, weights = 1e3 * rng.standard_cauchy(len(labels)), 1e6 * rng.random(len(set(labels)))
    watching = {"watching": opinion(scores, weights.tolist(), decides=False)}
    without = decided(labels, opinions, max_drop=max_drop)
    beside = decided(labels, watching | opinions if first else opinions | watching, max_drop=max_drop)
    np.testing.assert_array_equal(beside.p_value, without.p_value)
    np.testing.assert_array_equal(beside.score, without.score)
    np.testing.assert_array_equal(beside.kind, without.kind)
    assert (beside.classes, beside.notes, beside.doubts) == (without.classes, without.notes, without.doubts)
    assert [bool(lines) for lines in beside.reasons] == [bool(lines) for lines in without.reasons]


@pytest.mark.parametrize("first", [True, False])
def test_a_broken_class_score_hides_nobody(first: bool) -> None:
    """A plugin whose class evidence is not a number must not silence the one that found something."""
    broken, sound = opinion(np.zeros(300), [np.nan, np.nan]), opinion(SCORES, [STRONG, 0.0])
    opinions = {"broken": broken, "sound": sound} if first else {"sound": sound, "broken": broken}
    np.testing.assert_array_equal(decided(LABELS, opinions).suspicious, TAIL)


def test_a_small_class_is_reported_and_never_dropped_from() -> None:
    """Nine samples cannot tell a group from chance."""
    labels = np.repeat([0, 1], [LEAST_CLASS - 1, 100])
    scores = np.concatenate([cloud_with_tail(LEAST_CLASS - 1, 4), cloud_with_tail(100, 0)])
    found = decided(labels, {"one": opinion(scores, [STRONG, 0.0])})
    assert not found.suspicious.any()
    assert "only 9 samples" in found.classes[0].reason
    assert found.classes[0].score > CLASS_MARGIN


@pytest.mark.parametrize(("tail", "flagged"), [(LEAST_GROUP - 1, 0), (LEAST_GROUP, LEAST_GROUP)])
def test_a_group_has_at_least_four_members(tail: int, flagged: int) -> None:
    """Fewer are odd samples, and the class says so."""
    found = decided([0] * 200, {"one": opinion(cloud_with_tail(200, tail, seed=3), [STRONG])})
    assert found.suspicious.sum() == flagged
    assert found.classes[0].reason


def test_no_more_than_half_of_a_class() -> None:
    """The worst half, if more than that looks planted."""
    p = np.linspace(0.001, 0.01, 40)
    chosen, reason = _restrained(np.arange(40) < 30, -np.log10(p[::-1]), np.zeros(40), "cats")
    assert chosen.sum() == int(MOST_OF_CLASS * 40)
    assert chosen[10:30].all()
    assert "capped at 50%" in reason


def test_no_more_than_max_drop_of_the_set() -> None:
    """The worst of them are flagged, and a note says how many more there were."""
    found = decided(LABELS, {"one": opinion(SCORES, [STRONG, 0.1])}, max_drop=0.02)
    assert found.suspicious.sum() == 6
    assert set(np.flatnonzero(found.suspicious)) == set(np.argsort(-SCORES)[:6])
    (note,) = found.notes
    assert "12 samples look suspicious; only the 6 worst" in note
    assert "--max-drop 0.02" in note


def test_the_worst_are_the_highest_scores_however_small_their_p() -> None:
    """A group fifty deviations out has p-values below what a float holds; its order must survive."""
    scores = np.concatenate([cloud_with_tail(170, 0), np.linspace(50, 80, 30), cloud_with_tail(100, 0, seed=1)])
    found = decided(LABELS, {"one": opinion(scores, [STRONG, 0.1])}, max_drop=0.05)
    assert set(np.flatnonzero(found.suspicious)) == set(np.argsort(-scores)[:15])


def test_p_values_are_never_zero() -> None:
    """Nothing is certain, and a table of zeros ranks nobody."""
    scores = np.concatenate([cloud_with_tail(170, 0), np.linspace(50, 80, 30), cloud_with_tail(100, 0, seed=1)])
    found = decided(LABELS, {"one": opinion(scores, [STRONG, 0.1])})
    assert found.p_value.min() > 0


def test_score_is_minus_the_logarithm_of_p() -> None:
    """For every sample; flagged ones have the smallest p of their class."""
    found = decided(LABELS, {"one": opinion(SCORES, [STRONG, 0.1]), "two": opinion(SCORES[::-1], None)})
    np.testing.assert_allclose(found.score, -np.log10(found.p_value), atol=1e-12)
    assert (found.p_value > 0).all()
    assert (found.p_value <= 1).all()
    assert found.p_value[TAIL].max() < found.p_value[(LABELS == 0) & ~TAIL].min()


def test_every_flagged_sample_has_a_reason_and_nobody_else() -> None:
    """The deciding detector first, then whoever else noticed, in their own words."""
    watching = np.zeros(300)
    watching[199] = 5
    found = decided(LABELS, {"odd": opinion(watching, None, decides=False), "one": opinion(SCORES, [STRONG, 0.1])})
    assert [bool(lines) for lines in found.reasons] == TAIL.tolist()
    assert found.reasons[199] == ("It was planted.", "It looks odd.")
    assert found.reasons[190] == ("It was planted.",)


@pytest.mark.parametrize("labels", [[0] * 50, [0, 1] * 25, [0] * 49 + [1], [0], [2, 5, 5]], ids=str)
@pytest.mark.parametrize("evidence", [0.0, 1e6])
def test_constant_scores_flag_nobody(labels: list[int], evidence: float) -> None:
    """Where all are alike nobody stands apart, whatever is said of the class."""
    found = decided(labels, {"one": opinion(np.full(len(labels), 3.0), [evidence] * len(set(labels)))})
    assert not found.suspicious.any()
    assert (found.p_value == 1).all()
    assert (found.score == 0).all()


def test_a_judgement_needs_no_opinion() -> None:
    """Without any detector, every sample is as good as another."""
    found = decided(LABELS, {})
    assert (found.p_value == 1).all()
    assert not found.poison_found


def test_a_single_class_is_judged_like_any_other() -> None:
    """Nothing compares classes with each other."""
    found = decided([0] * 200, {"one": opinion(SCORES[:200], [STRONG])})
    np.testing.assert_array_equal(found.suspicious, TAIL[:200])


def test_one_who_sees_is_not_outvoted() -> None:
    """Ten detectors that are blind to a kind of poison do not hide it: the union counts, not the mean."""
    rng = np.random.default_rng(5)
    labels = np.zeros(2000, int)
    seen = rng.normal(size=2000)
    seen[7] = 40
    opinions = {"sees": opinion(seen)} | {f"blind {n}": opinion(rng.normal(size=2000)) for n in range(10)}
    for blind in list(opinions)[1:]:
        opinions[blind].scores[7] = -3
    fused = fused_ranks(evidence_over(labels), opinions)
    assert fused[7] == pytest.approx(11 / 2000)
    assert (fused < fused[7]).sum() == 0


def test_fused_ranks_compare_within_the_class() -> None:
    """A class whose scores are higher throughout is no more suspicious for it."""
    scores = np.concatenate([np.arange(100.0), 1000 + np.arange(100.0)])
    fused = fused_ranks(evidence_over(np.repeat([0, 1], 100)), {"one": opinion(scores)})
    np.testing.assert_array_equal(fused[:100], fused[100:])


def test_bonferroni_pays_for_every_detector() -> None:
    """On clean data, small p-values are no more frequent than they say, however many are asked."""
    rng = np.random.default_rng(6)
    opinions = {str(n): opinion(rng.normal(size=5000)) for n in range(8)}
    fused = fused_ranks(evidence_over(np.zeros(5000, int)), opinions)
    for level in (0.01, 0.05, 0.2):
        assert (fused <= level).mean() <= level + 1e-9


@given(cases())
def test_never_more_than_the_caps(case: tuple[np.ndarray, dict[str, Opinion], float]) -> None:
    """Of the set, of a class, in small classes, whatever the detectors say; and the parts agree with each other."""
    labels, opinions, max_drop = case
    found = decided(labels, opinions, max_drop=max_drop)
    assert found.suspicious.sum() <= max_drop * len(labels)
    for entry in found.classes:
        kinds = found.kind[labels == entry.label]
        assert (kinds == "planted").sum() == entry.suspicious
        assert (kinds == "label").sum() == entry.label_suspects
        assert (kinds != "").sum() <= MOST_OF_CLASS * entry.size
        assert (kinds == "").all() or entry.size >= LEAST_CLASS
        assert entry.hidden == (entry.suspicious > 0)
    np.testing.assert_array_equal(found.kind != "", found.suspicious)
    assert [bool(lines) for lines in found.reasons] == found.suspicious.tolist()
    assert ((found.p_value >= 0) & (found.p_value <= 1)).all()
    assert np.isfinite(found.score).all()


@given(cases(), st.integers(0, 99))
def test_the_decision_moves_with_the_samples(case: tuple[np.ndarray, dict[str, Opinion], float], seed: int) -> None:
    """Listing the samples in another order permutes flags and p-values and changes none."""
    labels, opinions, max_drop = case
    order = np.random.default_rng(seed).permutation(len(labels))
    moved = {name: Opinion(given.detector, given.scores[order], given.class_scores) for name, given in opinions.items()}
    one, other = decided(labels, opinions, max_drop=max_drop), decided(labels[order], moved, max_drop=max_drop)
    np.testing.assert_allclose(other.p_value, one.p_value[order], rtol=1e-9)
    np.testing.assert_array_equal(other.suspicious, one.suspicious[order])


def test_the_calibration_says_what_it_does_not_promise() -> None:
    """Its kind, that there is no guarantee, and the caps."""
    says = Calibration(max_drop=0.1).says()
    assert Calibration().kind == "self"
    assert "no guarantee" in says
    assert "10%" in says
    assert "50%" in says
