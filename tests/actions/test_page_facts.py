"""What the page says the verdict decided by."""

from __future__ import annotations

from sanitizer.actions.page.facts import threshold


def test_the_threshold_of_a_verdict_is_no_line_across_the_scores() -> None:
    """Classes first by their margin, or all samples by comparison with the trusted; each with its own number."""
    classes_first = threshold({"kind": "self", "class_margin": 1.25}, labelled=True)
    assert "threshold of 1.25" in classes_first
    assert "classes first" in classes_first
    assert "false discovery rate of 0.01 over the whole set" in threshold(
        {"kind": "trusted", "fdr": 0.01}, labelled=True
    )


def test_an_earlier_verdict_without_its_margin_is_explained_too() -> None:
    """The number is left out, and nothing else."""
    assert "reaches its threshold are samples" in threshold({"kind": "self"}, labelled=True)
