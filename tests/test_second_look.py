"""Two looks are one judgement: nothing of the first is lost, and the caps hold for both together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from toy_opinions import LABELS, SCORES, STRONG, TAIL, Deciding, Doubting, Watching, decided, opinion
from toy_scans import hurried
from toys import write_toys

from sanitizer.embed import probe
from sanitizer.pipeline import ScanSettings, scan
from sanitizer.second_look import SecondLook, asked_again, left_to_flag
from sanitizer.verdict import MOST_OF_CLASS, Calibration, Judgement

FIRST = decided(LABELS, {"one": opinion(SCORES, [STRONG, 0.1])})
NOBODY = decided(LABELS, {"one": opinion(SCORES, [0.1, 0.1])})


def again(first: Judgement, suspicious: np.ndarray, kind: str = "planted") -> SecondLook:
    """A second look that flags these samples of the whole set, as far as the first has left them."""
    rows = np.flatnonzero(~first.suspicious)
    seen = decided(LABELS[rows], {"one": opinion(SCORES[rows], [0.1, 0.1])})
    found = suspicious[rows]
    reasons = [("It was seen again.",) if flag else () for flag in found]
    seen = replace(seen, suspicious=found, kind=np.where(found, kind, ""), reasons=reasons)
    return SecondLook(seen, rows, LABELS, {"kind": "probe"})


def some(label: int, count: int) -> np.ndarray:
    """The last samples of a class, which nobody else flags."""
    chosen = np.zeros(len(LABELS), bool)
    chosen[np.flatnonzero(np.isin(LABELS, label) & ~TAIL)[-count:]] = True
    return chosen


def test_what_either_look_flags_is_flagged() -> None:
    """With the kind and the reasons of whoever flagged it, and counted in its class."""
    more = some(1, 7)
    both = again(FIRST, more).added_to(FIRST)
    np.testing.assert_array_equal(both.suspicious, FIRST.suspicious | more)
    assert (both.kind[both.suspicious] == "planted").all()
    assert all(both.reasons[row] == ("It was seen again.",) for row in np.flatnonzero(more))
    assert [both.reasons[row] for row in np.flatnonzero(TAIL)] == [FIRST.reasons[row] for row in np.flatnonzero(TAIL)]
    assert [(one.hidden, one.suspicious) for one in both.classes] == [(True, int(TAIL.sum())), (True, 7)]
    assert "a second look found 7 more" in both.classes[1].reason
    assert both.notes[-1] == f"a second look, without the {TAIL.sum()} flagged, flagged 7 more"


def test_a_wrong_label_is_no_planted_sample() -> None:
    """It is counted for itself, and hides nothing in its class."""
    both = again(NOBODY, some(1, 5), kind="label").added_to(NOBODY)
    assert not both.poison_found
    assert [(one.hidden, one.suspicious, one.label_suspects) for one in both.classes] == [(False, 0, 0), (False, 0, 5)]


def test_a_look_that_sees_nothing_new_flags_nothing_new() -> None:
    """And says so; p-values are of two looks."""
    both = again(FIRST, np.zeros(len(LABELS), bool)).added_to(FIRST)
    np.testing.assert_array_equal(both.suspicious, FIRST.suspicious)
    assert both.classes == FIRST.classes
    assert both.notes[-1].endswith("flagged no more")
    np.testing.assert_allclose(both.p_value[TAIL], np.minimum(1, 2 * FIRST.p_value[TAIL]))
    np.testing.assert_allclose(both.score, -np.log10(both.p_value), atol=1e-9)
    assert "from another seed" in again(NOBODY, some(1, 1)).added_to(NOBODY).notes[-1]


@pytest.mark.parametrize("count", [10, 50, 99])
def test_a_class_loses_no_more_than_it_may_in_one_look(count: int) -> None:
    """Both looks together: half of it."""
    both = again(FIRST, some(0, count) | some(1, count)).added_to(FIRST)
    for label in (0, 1):
        members = np.isin(LABELS, label)
        assert both.suspicious[members].sum() <= MOST_OF_CLASS * members.sum()
        assert both.suspicious[members].sum() >= min(count, MOST_OF_CLASS * members.sum())
    assert (both.kind != "").tolist() == both.suspicious.tolist()


def test_the_second_look_has_what_the_first_left_to_flag() -> None:
    """Of the whole set, both together flag at most ``max_drop``."""
    flagged, n = int(FIRST.suspicious.sum()), len(LABELS)
    left = left_to_flag(FIRST, Calibration(max_drop=0.2))
    assert left is not None
    assert left.max_drop * (n - flagged) + flagged == pytest.approx(0.2 * n)
    assert left_to_flag(FIRST, Calibration(max_drop=flagged / n)) is None


def test_only_who_decides_by_a_probe_is_asked_again() -> None:
    """Pixels say the same twice, and those who only describe change nothing."""

    class Learning(Deciding):
        needs = ("feature", "layout")

    class Looking(Deciding):
        needs = ("frequency",)

    class Describing(Watching):
        needs = ("feature",)

    asked = asked_again({"a": Learning(), "b": Looking(), "c": Describing(), "d": Doubting()})
    assert list(asked) == ["a"]


def test_thorough_scans_look_twice(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    """The second probe is another one, was not shown what the first flagged, and the verdict names it."""
    write_toys(tmp_path / "toys", seed=1)
    monkeypatch.setitem(probe.BUDGETS, "thorough", (32, 5, 100))
    shown, train = [], probe.train_probe

    def train_and_tell(pixels, *args, **named):  # type: ignore[no-untyped-def]
        shown.append(len(pixels))
        return train(pixels, *args, **named)

    monkeypatch.setattr(probe, "train_probe", train_and_tell)
    detectors = ("hidden_population", "one_way_confusion")
    thorough = scan(tmp_path / "toys", settings=ScanSettings(budget="thorough", device="cpu", detectors=detectors))
    flagged = thorough.suspicious().num_rows
    assert flagged >= shown[0] - shown[1] > 0
    assert thorough.summary["second_look"]["digest"] != thorough.summary["model"]["digest"]
    assert any("a second look, without the" in note for note in thorough.summary["notes"])
    with hurried():
        fast = scan(tmp_path / "toys", settings=ScanSettings(budget="fast", device="cpu", detectors=detectors))
    assert len(shown) == 3
    assert "second_look" not in fast.summary
