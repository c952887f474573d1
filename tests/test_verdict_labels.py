"""Wrong labels: one sample at a time, at long odds, within the same caps."""

from __future__ import annotations

import numpy as np
import pytest
from toy_opinions import (
    LABELS,
    SCORES,
    STRONG,
    TAIL,
    Doubting,
    cloud_with_tail,
    decided,
    odds_over,
    opinion,
    scattered_run,
)

from sanitizer.verdict import (
    CLASS_MARGIN,
    LABEL_ODDS,
    LEAST_CLASS,
    SCATTERED_FDR,
)


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


class Hesitating(Doubting):
    """One whose odds mean something only where its class score is beyond what clean data shows."""

    innocent = 2.0


@pytest.mark.parametrize(("share", "heard"), [(0.99, False), (1.01, True)])
def test_odds_that_need_evidence_are_heard_where_there_is_some(share: float, heard: bool) -> None:
    """Class by class, at the margin that convicts; and such evidence convicts no class of hiding anything."""
    wrong = np.isin(np.arange(300), [3, 250])
    odds = odds_over(LABELS, wrong, height=2 * LABEL_ODDS).scores
    said = opinion(odds, [share * CLASS_MARGIN * 2.0, 0.0], detector=Hesitating())
    found = decided(LABELS, {"odds": said})
    np.testing.assert_array_equal(found.suspicious, wrong & (LABELS == 0) & heard)
    assert not found.poison_found
    assert not any(entry.hidden for entry in found.classes)
    assert all(bool(lines) == flag for lines, flag in zip(found.reasons, found.suspicious, strict=True))
