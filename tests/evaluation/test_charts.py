"""Charts: each shows what the results say, and nothing is drawn of what is not there."""

from __future__ import annotations

import re
from typing import Any

from made_up_results import control, older, result, retrained

from sanitizer.evaluation.charts import OPEN, Chart, charts
from sanitizer.evaluation.curves import thinned
from sanitizer.evaluation.plots import LOOKS
from sanitizer.evaluation.retraining import ARMS


def of(word: str, made: list[Chart]) -> Chart:
    """The chart whose title has this word."""
    (found,) = [chart for chart in made if word in chart.title]
    return found


def count(kind: str, picture: str) -> int:
    """How many shapes of a kind there are."""
    return picture.count(f'class="{kind}"')


def test_without_poison_there_is_nothing_to_draw() -> None:
    """The control has false alarms, and no curve."""
    assert charts([]) == charts([control(), {"row": "x", "name": "x", "failed": "no"}]) == []


def test_several_rates_make_a_line_and_every_seed_a_mark() -> None:
    """An attack at one rate has no line; settings make another attack of it."""
    results = [result(f"badnets at {rate}", seed) for rate in (0.01, 0.1) for seed in range(3)]
    made = of("share of poison", charts([*results, result("badnets size=4 at 0.1"), result("flip at 0.2")]))
    (panel,) = made.panels
    assert [name for _, name in panel.key] == ["badnets"]
    assert count("line s0", panel.pictures[0]) == 1
    assert count("mark", panel.pictures[0]) == 6
    assert "badnets at 10 %: recall 50.0 %" in panel.pictures[0]
    assert not any("share of poison" in chart.title for chart in charts([result()]))


def test_more_attacks_than_looks_are_drawn_apart() -> None:
    """No two lines of a picture look alike."""
    results = [result(f"attack{number} at {rate}") for number in range(LOOKS + 1) for rate in (0.01, 0.1)]
    assert [len(panel.key) for panel in of("share", charts(results)).panels] == [LOOKS, 1]


def test_curves_are_of_the_verdict_and_the_best_detectors() -> None:
    """Five of them, by AUROC, for each set; only the first sets are open."""
    made = result()
    made["detectors"] = {f"d{number}": made["fused"] | {"auroc": number / 10} for number in range(8)}
    others = [result(f"badnets at 0.{number}") for number in range(1, OPEN + 2)]
    chart = of("threshold", charts([made, *others]))
    key = [name for _, name in chart.panels[0].key]
    assert key[0] == "all: the verdict, AUROC 50.0 %"
    assert [name.partition(",")[0] for name in key[1:-1]] == ["1: d7", "2: d6", "3: d5", "4: d4", "5: d3"]
    assert [panel.opened for panel in chart.panels] == [True] * OPEN + [False] * 2
    for picture in chart.panels[0].pictures:
        assert all(count(f"line s{look}", picture) == 1 for look in range(LOOKS))


def test_curves_are_means_over_seeds() -> None:
    """Of a perfect and of a useless score: half of the poison at every low rate. Seeds without a curve do not count."""
    truth = [False, True, False, True]
    perfect, useless = (thinned(scores, truth) for scores in ([0, 1, 0, 1], [1, 0, 1, 0]))
    results: list[dict[str, Any]] = [result(seed=0), result(seed=1)]
    for one, curve in zip(results, (perfect, useless), strict=True):
        one["fused"] = one["fused"] | {"curve": curve}
    (panel,) = of("threshold", charts([*results, older(result(seed=2))])).panels
    assert panel.title == "badnets at 0.01, 2 seeds"
    roc = panel.pictures[0]
    ticks = {text: float(y) for y, text in re.findall(r'class="tick end" x="[^"]*" y="([^"]*)">(\d+ %)<', roc)}
    (path,) = re.findall(r'class="line s0" d="M([^"]*)"', roc)
    heights = [float(point.split()[1]) for point in path.split("L")]
    assert abs(heights[0] + 4 - ticks["50 %"]) < 0.2  # the text stands a little lower than its line
    assert abs(heights[-1] + 4 - ticks["100 %"]) < 0.2


def test_the_tools_own_threshold_is_marked_for_each_seed() -> None:
    """With its numbers; where nothing was flagged there is no precision."""
    results = [result(seed=seed) for seed in range(3)]
    nothing = results[2]["flags"]["any"] | {"poison_flagged": 0, "recall": 0.0}
    results[2]["flags"] = results[2]["flags"] | {"any": nothing}
    roc, precision = of("threshold", charts(results)).panels[0].pictures
    assert (count("own", roc), count("own", precision)) == (3, 2)
    for picture in (roc, precision):
        assert "badnets at 0.01, seed 1: recall 50.0 %, false positives 0.000 %" in picture


def test_a_score_without_a_curve_is_left_out() -> None:
    """Of a detector that ran for some seeds only, those count that have one."""
    made = result()
    made["detectors"] = {"absent": made["fused"] | {"curve": None, "auroc": 0.9}, "lof": made["fused"]}
    key = [name for _, name in of("threshold", charts([made, result(seed=1)])).panels[0].key]
    assert [name.partition(",")[0] for name in key[:-1]] == ["all: the verdict", "1: lof"]


def test_every_arm_stands_beside_the_others() -> None:
    """In both pictures, with its interval where there is one."""
    made = of("removing", charts([result() | {"retraining": retrained([0.9, 0.5], [0.7, 0.3])}]))
    success, accuracy = made.panels[0].pictures
    for picture in (success, accuracy):
        assert count("mark", picture) == count("span", picture) == len(ARMS)
    assert "before: 70.0 % (0.0 % to 100.0 %)" in success
    assert "after: 50.0 %" in success
    assert "perfect: 80.0 % (80.0 % to 80.0 %)" in accuracy
    assert not any("removing" in chart.title for chart in charts([result()]))
