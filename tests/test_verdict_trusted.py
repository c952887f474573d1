"""The decision beside trusted samples, and without labels: what is promised, and what is only doubted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from toy_opinions import (
    LABELS,
    SCORES,
    STRONG,
    Deciding,
    Doubting,
    Scattering,
    cases,
    cloud_with_tail,
    decided,
    evidence_over,
    odds_over,
    opinion,
    scattered_run,
)

from detectors.base import Evidence
from sanitizer.verdict import (
    Calibration,
    Judgement,
    Opinion,
    judge,
)


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
