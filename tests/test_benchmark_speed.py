"""The benchmark of speed: fair turns, honest ratios, nothing measured twice, and every promise has its row."""

from __future__ import annotations

import json
import mmap
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.detection.table import put_into
from benchmarks.speed import __main__ as command
from benchmarks.speed import density_rows, inputs, memory, results, table
from benchmarks.speed.bench import Bench, Compared, Measured, ours
from benchmarks.speed.rows import BY_NAME, ROWS
from benchmarks.speed.sides import NotMeasured, Side, run
from benchmarks.speed.timing import Cost, clocked, exponent, interleaved
from benchmarks.speed.trials import TRIALS, Trial

#: As the list of promises has them.
PROMISED = {
    "knn_as_used": 35, "knn_same_work": 4, "knn_over_faiss": 2, "lof": 15, "spectral_clustering_50k": 40,
    "spectral_clustering_200k": 100, "epic_time": 25, "epic_memory": 100, "epic_exponent": 1.15,
    "gradient_over_forward": 1.02, "gram": 300, "scan_over_forward_resnet18": 1.04, "scan_over_forward_resnet20": 1.20,
    "scan_over_probe": 1.25, "forward": 2.8, "decode_224": 2.4, "decode_1024": 4.5, "overlap": 1.10,
    "bytes_per_image": 1300, "bytes_per_image_mapped": 100, "exponent": 1.2, "knn_200k": 60, "rescan_changed": 0.02,
    "rescan_unchanged": 0.005,
}  # fmt: skip


def test_every_promise_has_its_row() -> None:
    """Under its name and with its goal; a row without a goal stands beside one that has one."""
    assert {row.name: row.goal for row in ROWS if row.goal is not None} == PROMISED
    assert len(BY_NAME) == len(ROWS)


def test_every_row_comes_of_one_trial() -> None:
    """None is measured twice, none not at all."""
    measured = [name for trial in TRIALS for name in trial.rows]
    assert sorted(measured) == sorted(BY_NAME)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_goal_is_met_from_one_side_only(row: Any) -> None:
    """More is better where the peer's cost is over ours, less where it is the other way round."""
    assert (row.better == ">=") == (row.unit == "x")
    if row.goal is None:
        assert row.met(1.0) is None
        return
    assert row.met(row.goal)
    assert row.met(row.goal * 1.01) == (row.better == ">=")


class TestTiming:
    """What is compared, and how."""

    def test_sides_take_turns(self) -> None:
        """Once a round, and every other round the other way round."""
        seen: list[str] = []

        def side(name: str) -> Callable[[], Cost]:
            return lambda: seen.append(name) or Cost(1, 1)  # type: ignore[func-returns-value]

        interleaved({name: side(name) for name in "abc"}, rounds=3)
        assert "".join(seen) == "abc" + "cba" + "abc"

    def test_one_disturbed_round_changes_nothing(self) -> None:
        """Medians of each figure by itself."""
        costs = iter([Cost(2, 1, peak=5), Cost(900, 3, peak=4), Cost(1, 2, peak=6)])
        assert interleaved({"a": lambda: next(costs)}, rounds=3) == {"a": Cost(2, 2, peak=5)}

    def test_both_clocks_are_read_around_the_work_alone(self) -> None:
        """A clock that only the work moves."""
        now = {"wall": 10.0, "cpu": 5.0}

        def work() -> str:
            now["wall"] += 4
            now["cpu"] += 3
            return "done"

        assert clocked(work, lambda: now["wall"], lambda: now["cpu"]) == (Cost(4, 3), "done")

    def test_a_part_of_the_work_stands_for_all_of_it(self) -> None:
        """In time; what memory it takes is seen as it is."""
        assert Cost(1, 2, peak=8, growth=3).scaled(10) == Cost(10, 20, peak=8, growth=3)

    def test_start_up_is_taken_off_once(self) -> None:
        """From both clocks."""
        assert Cost(5, 4).net_of(Cost(2, 1)) == Cost(3, 3)

    @pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
    def test_the_exponent_is_the_power_of_the_size(self, power: float) -> None:
        """Whatever the unit of time."""
        assert exponent(Cost(3, 3), Cost(3 * 20**power, 0), times=20) == pytest.approx(power)


def test_a_ratio_is_written_from_the_peers_point_of_view_or_from_ours() -> None:
    """Four times as fast is a quarter of the time."""
    compared = Compared({"ours": Cost(2, 2), "peer": Cost(8, 7)}, {}, {})
    assert compared.faster("ours", "peer").ratio == 4
    assert compared.share("ours", "peer").ratio == 0.25


def fresh_memory() -> mmap.mmap:
    """64 MiB, written to, that no allocator had kept from what earlier tests gave back."""
    block = mmap.mmap(-1, 2**26, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    block.write(b"1" * 2**26)
    return block


def test_memory_is_seen_while_it_is_there() -> None:
    """What was given back before the end counts too."""
    if not memory.counted("VmHWM"):
        pytest.skip("this system counts memory in another way")
    with memory.resident_peak() as peak:
        fresh_memory().close()
    assert peak.highest - peak.start > 2**25


def test_own_memory_is_looked_at_again_and_again() -> None:
    """No counter keeps its peak, so what stays for a while is seen."""
    if not memory.counted("RssAnon"):
        pytest.skip("this system counts memory in another way")
    with memory.own_peak() as peak:
        block, patience = fresh_memory(), time.monotonic() + 8
        while peak.highest - peak.start < 2**25 and time.monotonic() < patience:
            time.sleep(0.01)
        block.close()
    assert peak.highest - peak.start > 2**25


class TestFilling:
    """Trials are made up; here is what becomes of them."""

    @pytest.fixture
    def trial(self) -> Trial:
        """One that counts how often it is asked."""
        asked: list[Bench] = []

        def measure(bench: Bench) -> dict[str, Measured]:
            asked.append(bench)
            return {"gram": Measured(float(len(asked)), Cost(1.23456, 1), Cost(2, 2), {"error": 0.0}, {"numpy": "2"})}

        return Trial(("gram",), measure)

    def test_what_is_measured_is_kept(self, trial: Trial, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Unless it is asked for again, or was measured at another size."""
        out, bench = tmp_path / "speed.json", Bench(tmp_path)
        for ratio, settings in ((1, {}), (1, {}), (2, {"again": True})):
            results.fill([trial], out, bench, **settings)
            assert results.read(out)["gram"]["ratio"] == ratio
        results.fill([trial], out, Bench(tmp_path, scale=0.5))
        assert results.read(out)["gram"]["ratio"] == 3
        assert "gram: 1 (goal >= 300), ours 1.235 s, peer 2 s" in capsys.readouterr().out

    def test_a_result_has_what_was_promised(self, trial: Trial, tmp_path: Path) -> None:
        """The ratio, the goal, both sides by both clocks, and how often."""
        results.fill([trial], tmp_path / "speed.json", Bench(tmp_path, rounds=7))
        (entry,) = json.loads((tmp_path / "speed.json").read_text()).values()
        assert {"ratio", "goal", "ours", "peer", "rounds"} <= entry.keys()
        assert entry["ours"] == {"wall": 1.235, "cpu": 1.0}
        assert (entry["goal"], entry["rounds"]) == (300, 7)

    def test_what_breaks_says_why_and_is_tried_again(self, trial: Trial, tmp_path: Path) -> None:
        """And costs no other row."""

        def broken(bench: Bench) -> dict[str, Measured]:
            raise NotMeasured("no submodlib | here")

        out = tmp_path / "speed.json"
        results.fill([Trial(("epic_time", "epic_memory"), broken), trial], out, Bench(tmp_path))
        assert results.read(out)["epic_time"]["not measured"] == "no submodlib | here"
        page = table.render(results.read(out))
        assert "- epic_memory: no submodlib \\| here\n" in page
        assert "| `gram` |" in page
        assert not results.finished(results.read(out)["epic_time"], 1.0)


def entry(ratio: float, **cost: float) -> dict[str, Any]:
    """A measured row."""
    sides = {"wall": 1.5, "cpu": 1.25} | cost
    return {"ratio": ratio, "ours": sides, "peer": sides, "rounds": 5, "scale": 1.0, "goal": None}


class TestTable:
    """What is shown of it."""

    def test_without_results_there_is_one_line(self) -> None:
        """That says how to get some."""
        assert table.render({}) == "Not measured yet: `make bench-speed` does.\n"

    def test_rows_stand_in_the_order_of_the_promises(self) -> None:
        """Whatever was measured first."""
        lines = table.render({"gram": entry(400.0), "lof": entry(20.0)}).splitlines()
        assert [line.split("`")[1] for line in lines[2:]] == ["lof", "gram"]

    def test_what_misses_its_goal_is_in_bold(self) -> None:
        """From whichever side."""
        shown = table.render({"lof": entry(14.0), "gram": entry(301.0), "overlap": entry(1.5)})
        assert "| ≥ 15 x | **14 x** |" in shown
        assert "| ≥ 300 x | 301 x |" in shown
        assert "| ≤ 1.10 | **1.50** | 1.5 s (1.25 s computing) |" in shown

    def test_memory_is_shown_where_memory_is_compared(self) -> None:
        """What was added to the input, or all of it."""
        cost = {"peak": 3e8, "growth": 2e6}
        shown = table.render({"epic_memory": entry(110.0, **cost), "bytes_per_image": entry(1200.0, **cost)})
        assert "| 110 x | 2.0 MB | 2.0 MB |" in shown
        assert "| ≤ 1,300 B | 1,200 B | 300 MB | 300 MB |" in shown

    def test_it_goes_between_its_marks(self, tmp_path: Path) -> None:
        """And nothing else on the page moves."""
        page = tmp_path / "page.md"
        page.write_text("before\n<!-- speed: made by benchmarks/speed -->\n<!-- end -->\nafter\n")
        put_into(page, {"speed": table.render({})}, "speed")
        assert page.read_text().startswith("before\n")
        assert page.read_text().endswith("<!-- end -->\nafter\n")
        assert table.ABSENT in page.read_text()


class TestInputs:
    """What is measured on."""

    def test_they_are_the_same_every_time(self, tmp_path: Path) -> None:
        """Down to the byte, for a comparison that goes on tomorrow."""
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            inputs.features(tmp_path / name, count=60, width=8)
            inputs.jpegs(tmp_path / name, count=3, side=16)
        for path in (path for path in (tmp_path / "one").rglob("*") if path.is_file()):
            assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()

    def test_only_the_named_share_of_images_changes(self, tmp_path: Path) -> None:
        """So that a second scan has that much to do, and no more."""
        import pyarrow.parquet as pq

        for name, darkened in (("a", 0.0), ("b", 0.1)):
            inputs.parquet(tmp_path, name=name, count=40, side=16, darkened=darkened)
        before, after = (pq.read_table(tmp_path / name)["image"].to_pylist() for name in ("a", "b"))
        assert sum(one != other for one, other in zip(before, after, strict=True)) == 4

    def test_they_are_made_once_and_whole(self, tmp_path: Path) -> None:
        """A maker that was interrupted is asked again."""
        bench, calls = Bench(tmp_path), []

        def make(folder: Path) -> None:
            calls.append(folder)
            if len(calls) == 1:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            bench.made("set", make)
        assert bench.made("set", make) == bench.made("set", make) == tmp_path / "set"
        assert len(calls) == 2


def test_neighbours_are_compared_as_sets() -> None:
    """In any order, and the row itself is none."""
    wanted = np.array([[0, 1, 2], [1, 0, -1]])
    assert density_rows.same(np.array([[2, 1], [5, 6]]), wanted) == pytest.approx(2 / 3)


class TestSides:
    """Workloads in processes of their own."""

    def test_what_is_not_installed_is_named(self, tmp_path: Path) -> None:
        """In one line, with the workload that wanted it."""
        side = Side("benchmarks.speed.no_such_module:scores", python=sys.executable)
        with pytest.raises(NotMeasured, match=r"^scores: ModuleNotFoundError: No module named"):
            run(side, tmp_path)

    def test_peers_know_nothing_of_ours(self) -> None:
        """Their interpreter need not have it: what they import at the top is the standard library and numpy."""
        source = Path(density_rows.__file__)
        for name in ("peers", "worker", "timing", "memory"):
            lines = source.with_name(f"{name}.py").read_text(encoding="utf-8").splitlines()
            imports = [line for line in lines if line.startswith(("import ", "from "))]
            assert not [line for line in imports if "sanitizer" in line or "detectors" in line or "torch" in line]


def test_cheap_rows_run_from_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny, once, by the command: the file is written, all sides agreed, and no page was touched."""
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "speed.json"
    words = ["--only", "gram", "--only", "decode_224", "--rounds", "1", "--scale", "0.01", "--out", str(out)]
    command.main([*words, "--scratch", str(tmp_path)])
    found = results.read(out)
    assert found.keys() == {"gram", "decode_224"}
    assert all(one["ratio"] > 0 and one["ours"]["cpu"] > 0 for one in found.values())
    assert found["gram"]["checks"]["relative_error"] < 1e-5
    assert "torchvision" in found["decode_224"]["versions"]


def test_small_figures_do_not_pass_for_results(capsys: pytest.CaptureFixture[str]) -> None:
    """They have to go elsewhere."""
    with pytest.raises(SystemExit):
        command.main(["--scale", "0.5"])
    assert "these figures are no results" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command.main(["--only", "nothing"])
    assert "got nothing" in capsys.readouterr().err


def test_our_sides_are_run_by_this_interpreter() -> None:
    """And those of peers by the one that was named."""
    assert ours("stage:opinions", detectors=["lof"]).python == sys.executable
    assert Bench(Path(), peers="elsewhere").peer("sklearn_lof", k=1).python == "elsewhere"
