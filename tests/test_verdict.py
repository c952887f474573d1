"""The decision: classes first, samples second, and never more than the caps allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from detectors.base import Detector, Evidence, Floats
from sanitizer.verdict import (
    CLASS_MARGIN,
    LABEL_ODDS,
    LEAST_CLASS,
    LEAST_GROUP,
    MOST_OF_CLASS,
    SCATTERED_FDR,
    Calibration,
    Judgement,
    Opinion,
    _restrained,
    fused_ranks,
    judge,
)


class Deciding(Detector):
    """A detector whose class evidence counts."""

    sees = ("shifted",)
    says = "It was planted."
    innocent = 2.0

    def _score(self, evidence: Evidence) -> Floats:
        return np.zeros(len(evidence))


class Scattering(Deciding):
    """One that finds planted samples which have in common only that they contradict their label."""

    sees = ("mislabelled",)
    says = "It looks like another class."


class Doubting(Deciding):
    """One that gives odds that a label is wrong."""

    sees = ("mislabelled",)
    says = "Its label looks wrong."
    innocent = None
    label_odds = True


class Watching(Deciding):
    """One that may say what it wants of classes: nothing follows from it."""

    says = "It looks odd."
    innocent = None


def evidence_over(labels: Sequence[int] | np.ndarray) -> Evidence:
    """Nothing but labels: that is all a decision needs."""
    labels = np.asarray(labels, dtype=np.int64)
    names = [f"class {number}" for number in range(int(labels.max()) + 1)]
    return Evidence(labels, names, np.arange(len(labels), dtype=np.uint64))


def opinion(
    scores: Floats,
    class_scores: Sequence[float] | None = None,
    *,
    decides: bool = True,
    detector: Detector | None = None,
) -> Opinion:
    """What a detector made up."""
    detector = detector or (Deciding() if decides else Watching())
    return Opinion(detector, np.asarray(scores, float), None if class_scores is None else np.array(class_scores, float))


def decided(labels: Sequence[int] | np.ndarray, opinions: Mapping[str, Opinion], *, max_drop: float = 0.2) -> Judgement:
    """The judgement over labels and opinions."""
    return judge(evidence_over(labels), opinions, Calibration(max_drop=max_drop))


def cloud_with_tail(size: int, tail: int, *, seed: int = 0, height: float = 12) -> Floats:
    """Normal scores, of which the last ``tail`` lie ``height`` deviations out."""
    scores = np.random.default_rng(seed).normal(size=size)
    if tail:
        scores[-tail:] += height
    return scores


LABELS = np.repeat([0, 1], [200, 100])  # class 0 hides the group: its last twelve
TAIL = np.isin(np.arange(300), np.arange(188, 200))
SCORES = np.concatenate([cloud_with_tail(200, 12), cloud_with_tail(100, 0, seed=1)])
STRONG = 2.0 * CLASS_MARGIN * 1.5  # class evidence in a detector's own units


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


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, dict[str, Opinion], float]:
    """Labels, opinions of up to three detectors, all of which may decide, and a cap."""
    labels = np.repeat(np.arange(3), draw(st.tuples(*[st.integers(1, 60)] * 3)))
    opinions = {}
    for number in range(draw(st.integers(1, 3))):
        seed, tail = draw(st.integers(0, 99)), draw(st.floats(0, 0.9))
        scores = np.random.default_rng(seed).normal(size=len(labels))
        scores[np.random.default_rng(seed + 1).random(len(labels)) < tail] += draw(st.sampled_from([3.0, 20.0, 1e6]))
        opinions[str(number)] = opinion(scores, draw(st.tuples(*[st.floats(0, 1e3)] * 3)))
    for number in range(draw(st.integers(0, 2))):
        odds = np.random.default_rng(draw(st.integers(0, 99))).normal(0, draw(st.sampled_from([1.0, 5.0])), len(labels))
        opinions[f"odds {number}"] = opinion(odds, detector=Doubting())
    return labels, opinions, draw(st.sampled_from([0.01, 0.1, 0.2, 1.0]))


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


def odds_over(labels: np.ndarray, wrong: np.ndarray, *, height: float = 2 * LABEL_ODDS) -> Opinion:
    """Odds against some labels, all others being certain."""
    return opinion(np.where(wrong, np.log(height), -3.0), detector=Doubting())


@pytest.mark.parametrize(("share", "called"), [(0.99, False), (1.01, True)])
def test_a_label_is_called_wrong_at_ten_to_one(share: float, called: bool) -> None:
    """Just below these odds nothing follows; above them it is a wrong label, and nothing planted."""
    wrong = np.isin(np.arange(300), [3, 250])
    found = decided(LABELS, {"odds": odds_over(LABELS, wrong, height=share * LABEL_ODDS)})
    np.testing.assert_array_equal(found.suspicious, wrong & called)
    assert set(found.kind[found.suspicious]) == ({"label"} if called else set())
    assert not found.poison_found
    assert [entry.label_suspects for entry in found.classes] == [int(called)] * 2
    assert all(
        lines == (("Its label looks wrong.",) if flag else ())
        for lines, flag in zip(found.reasons, found.suspicious, strict=True)
    )


def test_ranks_do_not_make_a_label_wrong() -> None:
    """The highest odds of a set in which every label fits accuse nobody."""
    found = decided(LABELS, {"odds": opinion(np.linspace(-9, 0, 300), detector=Doubting())})
    assert not found.suspicious.any()


def test_at_most_half_of_a_class_has_wrong_labels() -> None:
    """The highest odds, if more than half are contradicted; two detectors may not take a half each."""
    labels = np.repeat([0, 1], 100)
    odds = np.where(labels == 0, np.linspace(3, 6, 200), -3.0)
    found = decided(labels, {"odds": opinion(odds, detector=Doubting())}, max_drop=1)
    np.testing.assert_array_equal(np.flatnonzero(found.suspicious), np.arange(50, 100))
    other = opinion(np.where(labels == 0, odds[99::-1].repeat(2), -3.0), detector=Doubting())
    both = decided(labels, {"odds": opinion(odds, detector=Doubting()), "more": other}, max_drop=1)
    assert both.suspicious.sum() == 50


def test_planted_and_wrong_labels_share_the_half_of_a_class() -> None:
    """A class never loses more than half, whatever for; the planted go first."""
    labels = np.zeros(200, int)
    scores = cloud_with_tail(200, 60)
    opinions = {"one": opinion(scores, [STRONG]), "odds": odds_over(labels, np.arange(200) < 120)}
    found = decided(labels, opinions, max_drop=1)
    assert (found.kind == "planted").sum() == 60
    assert (found.kind == "label").sum() == 40
    assert (found.kind[140:] == "planted").all()


def test_a_planted_sample_is_planted_whatever_its_label() -> None:
    """Contradicted as well, it counts once, and both reasons are given."""
    found = decided(LABELS, {"one": opinion(SCORES, [STRONG, 0.0]), "odds": odds_over(LABELS, TAIL)})
    assert (found.kind[TAIL] == "planted").all()
    assert found.suspicious.sum() == TAIL.sum()
    assert all(found.reasons[row][:2] == ("It was planted.", "Its label looks wrong.") for row in np.flatnonzero(TAIL))


def test_small_classes_have_no_wrong_labels() -> None:
    """Nobody is dropped from a class of nine."""
    labels = np.repeat([0, 1], [LEAST_CLASS - 1, 100])
    found = decided(labels, {"odds": odds_over(labels, labels == 0)})
    assert not found.suspicious.any()
    assert "fewer than 10 samples" in found.notes[0]


def test_max_drop_covers_both_kinds() -> None:
    """The worst of all suspects are flagged, planted before contradicted: their p-values are smaller."""
    opinions = {"one": opinion(SCORES, [STRONG, 0.0]), "odds": odds_over(LABELS, np.arange(300) >= 280)}
    found = decided(LABELS, opinions, max_drop=0.05)
    assert (found.kind == "planted").sum() == 12
    assert (found.kind == "label").sum() == 3
    assert "32 samples look suspicious; only the 15 worst" in found.notes[0]


def test_the_worst_labels_go_first() -> None:
    """Where ranks tie, as across classes, the odds settle whom a cap spares, not the order of the samples."""
    labels = np.arange(300) % 3
    odds = np.where(np.arange(300) >= 270, np.linspace(5, 6, 300)[::-1], -3.0)
    found = decided(labels, {"odds": opinion(odds, detector=Doubting())}, max_drop=0.01)
    assert found.suspicious.sum() == 3
    np.testing.assert_array_equal(np.flatnonzero(found.suspicious), [270, 271, 272])


def scattered_run(rng: np.random.Generator, poison: int) -> tuple[np.ndarray, Opinion, np.ndarray]:
    """Three classes of equal honest confusion, one of which holds poison that contradicts its label."""
    labels = np.repeat([0, 1, 2], [300 + poison, 300, 300])
    planted = np.isin(np.arange(len(labels)), np.arange(300, 300 + poison))
    scores = rng.exponential(size=len(labels)) + planted * rng.exponential(5, len(labels))
    return labels, opinion(scores, [STRONG, 0.0, 0.0], detector=Scattering()), planted


@pytest.mark.parametrize("poison", [10, 40])
def test_scattered_poison_is_flagged_within_its_false_discovery_rate(poison: int) -> None:
    """Honest samples contradict their label too: of those flagged they are at most one in four."""
    rng = np.random.default_rng(poison)
    shares, recalls = [], []
    for _ in range(150):
        labels, given, planted = scattered_run(rng, poison)
        flagged = decided(labels, {"one": given}).suspicious
        shares.append((flagged & ~planted).sum() / max(1, flagged.sum()))
        recalls.append(flagged[planted].mean())
        assert not flagged[labels > 0].any()
    assert np.mean(shares) <= SCATTERED_FDR + 3 * np.std(shares) / np.sqrt(len(shares))
    assert np.mean(recalls) > (0.4 if poison == 40 else 0.1)


def compared(
    labels: Sequence[int] | np.ndarray,
    opinions: Mapping[str, Opinion],
    trusted: np.ndarray,
    *,
    fdr: float = 0.05,
    max_drop: float = 1.0,
) -> Judgement:
    """The judgement where some samples are trusted."""
    return judge(evidence_over(labels), opinions, Calibration(trusted=trusted, fdr=fdr, max_drop=max_drop))


def half_of(size: int, seed: int = 0) -> np.ndarray:
    """A random half."""
    return np.random.default_rng(seed).permutation(size) < size // 2


def with_reference(
    planted: int, *, among_trusted: int = 0, seed: int = 0
) -> tuple[np.ndarray, Opinion, np.ndarray, np.ndarray]:
    """Two classes, half of each trusted; class 0 hides a group at the end. Labels, opinion, trusted, who is planted."""
    group = planted + among_trusted
    labels = np.repeat([1, 0], [300, 300 + group])
    scores = cloud_with_tail(600 + group, group, seed=seed)
    trusted = np.concatenate([half_of(600, seed), np.arange(group) < among_trusted])
    return labels, opinion(scores, [STRONG, 0.0]), trusted, np.arange(600 + group) >= 600


def test_a_planted_group_stands_out_from_the_trusted() -> None:
    """Flagged as such, nobody else, with the classes counted over suspects alone."""
    labels, given, trusted, planted = with_reference(40)
    found = compared(labels, {"one": given}, trusted)
    assert found.suspicious[planted].all()
    assert found.suspicious[~planted].sum() <= 3
    assert found.poison_found
    assert set(found.kind[planted]) == {"planted"}
    assert found.doubts == []
    assert found.notes == []
    suspects = [int(((labels == label) & ~trusted).sum()) for label in (0, 1)]
    assert [entry.size for entry in found.classes] == suspects
    assert [entry.hidden for entry in found.classes] == [True, False]
    assert f"{found.suspicious.sum()} of {suspects[0]} samples stand out from the trusted" in found.classes[0].reason


def test_the_same_group_without_a_reference_to_compare_with() -> None:
    """Scores do not depend on who is trusted."""
    labels, given, trusted, _ = with_reference(40)
    with_trusted, alone = compared(labels, {"one": given}, trusted), decided(labels, {"one": given})
    np.testing.assert_array_equal(with_trusted.score, alone.score)


@pytest.mark.parametrize("more", [-1, 0])
def test_a_group_below_the_smallest_visible_one_is_a_doubt_and_not_flagged(more: int) -> None:
    """With as many as the calibration names it is flagged, with one fewer the scan is no clean bill."""
    labels, given, trusted, planted = with_reference(22 + more)
    assert Calibration(trusted=trusted).facts()["smallest_visible"] == 22  # 322 suspects / (301 * 5 %) = 21.4
    found = compared(labels, {"one": given}, trusted)
    if more < 0:
        assert not found.suspicious.any()
        assert found.doubts == [
            "21 samples look planted, but not beyond what the trusted reference can tell: see their scores"
        ]
    else:
        np.testing.assert_array_equal(found.suspicious, planted)


def test_what_max_drop_leaves_out_is_not_blamed_on_the_reference() -> None:
    """A cap is a cap: the note about the reference is for what it could not tell."""
    labels, given, trusted, _ = with_reference(40)
    found = compared(labels, {"one": given}, trusted, max_drop=0.02)
    assert found.suspicious.sum() == 6
    (note,) = found.notes
    assert "--max-drop" in note


def test_a_class_that_hides_something_unflagged_says_so() -> None:
    """Its evidence is about suspects and trusted together, and so are the words for it."""
    labels, given, trusted, _ = with_reference(5)
    found = compared(labels, {"one": given}, trusted)
    assert not found.suspicious.any()
    assert (
        "5 of 305 samples form a second population inside 'class 0' (trusted ones included)" in found.classes[0].reason
    )
    assert found.classes[1].reason == ""


def test_a_class_in_which_somebody_stands_out_was_judged() -> None:
    """However few of its samples were asked about: the note names classes that nothing can be said of."""
    labels, trusted = np.repeat([0, 1], [109, 120]), np.isin(np.arange(229), [*range(100), *range(129, 229)])
    scores = np.concatenate([cloud_with_tail(109, 9), cloud_with_tail(120, 0, seed=1)])
    found = compared(labels, {"one": opinion(scores, [STRONG, 0.0])}, trusted)
    np.testing.assert_array_equal(np.flatnonzero(found.suspicious), np.arange(100, 109))
    assert [entry.size for entry in found.classes] == [9, 20]
    assert found.notes == []
    quiet = compared(labels, {"one": opinion(scores, [0.0, 0.0])}, trusted)
    assert quiet.notes == ["1 class has fewer than 10 samples and cannot be judged: 'class 0'"]


def test_a_contaminated_reference_is_doubted() -> None:
    """Where the trusted hide the same group, nothing may be flagged: the verdict must not pass for clean."""
    labels, given, trusted, _ = with_reference(20, among_trusted=20)
    found = compared(labels, {"one": given}, trusted)
    assert not found.suspicious.any()
    (doubt,) = found.doubts
    assert "20 of its 'class 0' samples look planted" in doubt


def test_a_few_trusted_samples_on_the_edge_are_no_contamination() -> None:
    """Membership is statistical: three honest ones may be taken for members."""
    labels, given, trusted, _ = with_reference(60, among_trusted=3)
    assert compared(labels, {"one": given}, trusted).doubts == []


def test_honest_confusion_among_the_trusted_is_no_contamination() -> None:
    """Scattered members are honest one in four times, among the trusted as well."""
    rng = np.random.default_rng(8)
    doubted = dirty = 0
    for seed in range(100):
        labels, given, planted = scattered_run(rng, 60)
        clean = half_of(len(labels), seed) & ~planted
        for marks, count in ((clean, "clean"), (half_of(len(labels), seed), "dirty")):
            said = " ".join(compared(labels, {"one": given}, marks).doubts)
            doubted += count == "clean" and "contaminated" in said
            dirty += count == "dirty" and "contaminated" in said
    assert doubted <= 5
    assert dirty >= 95


@given(cases(), st.integers(0, 99), st.sampled_from([0.05, 0.3]))
def test_with_a_reference_the_decision_moves_with_the_samples(
    case: tuple[np.ndarray, dict[str, Opinion], float], seed: int, fdr: float
) -> None:
    """Samples listed in another order, marks with them: flags, kinds and p-values follow; the trusted never fall."""
    labels, opinions, _ = case
    order, trusted = np.random.default_rng(seed).permutation(len(labels)), half_of(len(labels), seed)
    moved = {name: Opinion(one.detector, one.scores[order], one.class_scores) for name, one in opinions.items()}
    here = compared(labels, opinions, trusted, fdr=fdr)
    there = compared(labels[order], moved, trusted[order], fdr=fdr)
    np.testing.assert_array_equal(there.kind, here.kind[order])
    np.testing.assert_allclose(there.p_value, here.p_value[order], rtol=1e-9)
    assert there.doubts == here.doubts
    assert not here.suspicious[trusted].any()
    assert [bool(lines) for lines in here.reasons] == here.suspicious.tolist()
    assert sum(entry.suspicious + entry.label_suspects for entry in here.classes) == here.suspicious.sum()


@given(cases(), st.floats(0.01, 0.9))
def test_with_a_reference_max_drop_counts_suspects(
    case: tuple[np.ndarray, dict[str, Opinion], float], max_drop: float
) -> None:
    """The cap is a share of what was asked about."""
    labels, opinions, _ = case
    trusted = half_of(len(labels))
    found = compared(labels, opinions, trusted, fdr=0.5, max_drop=max_drop)
    assert found.suspicious.sum() <= max_drop * (~trusted).sum()


def clean_run(rng: np.random.Generator, kind: str) -> tuple[np.ndarray, dict[str, Opinion]]:
    """Clean samples before one detector or several, which may take the tail of every class for a planted group."""
    labels = np.sort(rng.integers(0, 1 if kind == "ranks" else 3, 119))
    heavy = rng.standard_t(3, 119)
    strengths = [0.0 if kind == "ranks" else 2 * heavy[labels == label].max() for label in np.unique(labels)]
    detector = Scattering() if kind == "scattered" else Deciding()
    found = {"heavy": opinion(heavy, strengths, detector=detector)}
    if kind == "many":
        found |= {"odds": opinion(rng.normal(0, 3, 119), detector=Doubting())}
        found |= {f"watching {n}": opinion(rng.poisson(1, 119).astype(float), decides=False) for n in range(3)}
    return labels, found


@pytest.mark.parametrize("kind", ["ranks", "groups", "scattered", "many"])
def test_on_clean_data_anything_at_all_is_flagged_no_more_often_than_promised(kind: str) -> None:
    """Whoever is drawn to be trusted: planted or label, the chance of any flag is the level, within a binomial band."""
    rng, level, runs = np.random.default_rng(9), 0.2, 500
    alarms = 0
    for _ in range(runs):
        labels, opinions = clean_run(rng, kind)
        trusted = rng.permutation(119) < 99  # 20 suspects: one alone, above all the trusted, is just enough
        alarms += compared(labels, opinions, trusted, fdr=level).suspicious.any()
    assert alarms <= stats.binom.ppf(0.999, runs, level)
    if kind in ("ranks", "groups"):  # few ties: the level is used up
        assert alarms >= stats.binom.ppf(0.001, runs, 0.8 * level)


def test_a_wrong_label_needs_more_than_odds_where_there_is_a_reference() -> None:
    """It is flagged if it stands out from the trusted, and then it is called what it is."""
    labels, _, trusted, planted = with_reference(40)
    wrong = planted | (np.arange(len(labels)) == np.flatnonzero(~trusted)[0])
    quiet = compared(labels, {"odds": odds_over(labels, wrong)}, trusted)
    assert set(quiet.kind[wrong]) == {"label"}
    assert not quiet.poison_found
    everywhere = compared(labels, {"odds": odds_over(labels, wrong | (np.arange(len(labels)) % 5 == 0))}, trusted)
    assert not everywhere.suspicious.any()


def unlabelled(size: int) -> Evidence:
    """A set whose classes nobody named."""
    return Evidence(np.full(size, -1), [], np.arange(size, dtype=np.uint64))


def test_without_labels_scores_rank_and_flag_nobody() -> None:
    """The doubt says what would help."""
    found = judge(unlabelled(300), {"one": opinion(SCORES)}, Calibration())
    assert not found.suspicious.any()
    assert found.p_value.argmin() == SCORES.argmax()
    assert found.classes == []
    (doubt,) = found.doubts
    assert "without labels" in doubt
    assert "--trusted" in doubt


def test_without_labels_a_reference_lets_scores_flag() -> None:
    """Whoever ranks beyond all trusted ones stands out, and a reason is given."""
    scores = cloud_with_tail(300, 30)
    trusted = np.concatenate([half_of(270), np.zeros(30, bool)])
    found = judge(unlabelled(300), {"one": opinion(scores)}, Calibration(trusted=trusted, fdr=0.1))
    assert found.suspicious[-30:].all()
    assert found.suspicious[:-30].sum() <= 5
    assert found.doubts == []
    assert found.reasons[299] == ("It was planted.",)


def test_too_small_a_reference_is_no_clean_bill() -> None:
    """Where nothing could be flagged, whatever was there, the verdict says so and how many it takes."""
    trusted = np.arange(300) < 18
    found = compared(LABELS, {"one": opinion(SCORES, [STRONG, 0.0])}, trusted)
    assert not found.suspicious.any()
    assert any("18 trusted samples can reveal nothing at --fdr 0.05: give at least 20" in said for said in found.doubts)
    assert "cannot reveal anything" in Calibration(trusted=trusted).says()
    assert compared(LABELS, {}, np.arange(300) < 20).doubts == []


def test_a_trusted_calibration_says_what_it_promises() -> None:
    """Its size, the level, and the smallest group that it can reveal, in numbers and in words."""
    calibration = Calibration(trusted=np.arange(1999) < 999, fdr=0.1)
    facts = calibration.facts()
    assert (facts["kind"], facts["size"], facts["fdr"], facts["smallest_visible"]) == ("trusted", 999, 0.1, 10)
    says = str(facts["says"])
    assert "999 trusted samples" in says
    assert "at most 0.1" in says
    assert "fewer than 10 planted samples (1.00%)" in says
