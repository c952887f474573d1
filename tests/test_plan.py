"""The plan: exact counts, estimates of the right size, and nothing done that a plan must not do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from toys import CLASSES, write_toys

from detectors.base import Detector, Evidence, Floats
from sanitizer import registry, trials
from sanitizer.embed import probe, spaces
from sanitizer.embed.cifar_resnet import CifarResNet
from sanitizer.errors import SanitizerError
from sanitizer.pipeline import ScanSettings, scan
from sanitizer.plan import Plan, duration, plan_scan, quantity
from sanitizer.sources.base import open_source
from sanitizer.sources.census import take_census
from sanitizer.store import Store
from sanitizer.survey import SPECIMENS, survey

EACH = 30
TOTAL = len(CLASSES) * EACH
FAST = ScanSettings(budget="fast", device="cpu", detectors=("lof", "spectral"))


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    """A probe of a few steps is enough for toys."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(probe.BUDGETS, "fast", (32, 2, 10))
        yield


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean folder with three classes."""
    root = tmp_path_factory.mktemp("toys") / "data"
    write_toys(root, each=EACH, planted=0)
    return root


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A frozen network of the smallest kind there is."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_file(CifarResNet(1, 4, 10).state_dict(), path)
    return str(path)


def listing(root: Path) -> list[tuple[str, int]]:
    """Everything below a folder, with its time of change."""
    return sorted((str(path), path.stat().st_mtime_ns) for path in root.rglob("*"))


def stored(toys: Path) -> int:
    """The bytes of all images."""
    return sum(path.stat().st_size for path in toys.rglob("*.png"))


def vectors(path: Path, *, labelled: bool) -> str:
    """An ``.npz`` of 90 vectors."""
    rng = np.random.default_rng(0)
    labels = {"labels": np.repeat(np.arange(3), 30)} if labelled else {}
    np.savez(path, vectors=rng.normal(size=(90, 8)).astype(np.float32), **labels)
    return str(path)


def test_without_a_store_everything_is_new(toys: Path) -> None:
    """All samples are counted, none is known, all of them go through the probe."""
    plan = plan_scan(str(toys), replace(FAST, store="none"))
    assert (plan.samples, plan.known, plan.computed, plan.recalled) == (TOTAL, 0, TOTAL, False)
    assert plan.bytes == stored(toys)
    names = [name for name, _ in plan.stages]
    assert names == ["starting", "reading", "decoding", "training the probe", "searching neighbours", "detectors"]
    assert all(seconds >= 0 for _, seconds in plan.stages)
    assert plan.seconds > 0
    assert 50e6 < plan.memory_bytes < 50e9
    assert plan.disk_bytes > 0


def test_a_plan_writes_nothing(toys: Path, tmp_path: Path) -> None:
    """Neither where the verdict would go, nor into the source, nor anything into the store."""
    before = listing(toys)
    plan_scan(str(toys), replace(FAST, store=str(tmp_path / "store")), tmp_path / "out")
    assert listing(toys) == before
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert not list((tmp_path / "store").iterdir())


def test_what_the_store_knows_is_counted_exactly(toys: Path, tmp_path: Path) -> None:
    """After a part was read, that part is known; copies of a content count each."""
    settings = replace(FAST, store=str(tmp_path / "store"))
    part = tmp_path / "part"
    for place, path in enumerate(sorted(toys.rglob("*.png"))):
        if place % 3 == 0:
            (part / path.parent.name).mkdir(parents=True, exist_ok=True)
            (part / path.parent.name / path.name).write_bytes(path.read_bytes())
    (part / "box" / "again.png").write_bytes(next((part / "box").glob("*.png")).read_bytes())
    take_census(open_source(str(part)), store=Store.open(settings.store))
    assert plan_scan(str(toys), settings).known == TOTAL // 3
    assert plan_scan(str(part), settings).known == TOTAL // 3 + 1


def test_a_run_that_is_kept_is_not_trained_again(toys: Path, tmp_path: Path) -> None:
    """Another setting of the judgement needs another verdict, but no other network."""
    settings = replace(FAST, store=str(tmp_path / "store"))
    scan(str(toys), tmp_path / "out", settings)
    plan = plan_scan(str(toys), replace(settings, max_drop=0.1))
    assert (plan.known, plan.computed, plan.recalled) == (TOTAL, 0, False)
    assert "training the probe" not in dict(plan.stages)
    assert plan_scan(str(toys), replace(settings, seed=1)).computed == TOTAL


def test_what_a_probe_is_asked_besides_is_planned_until_the_store_has_it(toys: Path, tmp_path: Path) -> None:
    """A stage for each look that somebody wants, in memory, on disk and in time."""
    settings = replace(FAST, store=str(tmp_path / "store"))
    asking = replace(settings, detectors=(*FAST.detectors, "batchnorm_centroid", "prediction_shift"))
    before = plan_scan(str(toys), settings)
    plan = plan_scan(str(toys), asking)
    assert dict(plan.stages).keys() - dict(before.stages).keys() == {"view layers", "view dropout"}
    assert plan.disk_bytes - before.disk_bytes >= TOTAL * (2 * 2 * 21 * 16 + 4 * 2)  # channels and confidences
    scan(str(toys), settings=asking)
    after = plan_scan(str(toys), replace(asking, max_drop=0.1))
    assert not [name for name, _ in after.stages if name.startswith("view") or name == "decoding"]
    assert plan_scan(str(toys), replace(asking, detectors=("superposition", "lof"))).computed == 0


def test_a_look_at_pixels_is_planned_until_the_store_has_it(
    toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a detector wants it."""

    class Colourful(Detector):
        needs = ("mean_colour",)

        def _score(self, evidence: Evidence) -> Floats:
            return evidence.space("mean_colour").sum(axis=1)

    monkeypatch.setattr(spaces, "VIEWS", {"mean_colour": lambda pixels, labels, keys, device: pixels.mean(axis=(1, 2))})
    known = registry.detector
    monkeypatch.setattr(registry, "detector", lambda name: Colourful() if name == "lof" else known(name))
    settings = replace(FAST, store=str(tmp_path / "store"))
    assert "view mean_colour" in dict(plan_scan(str(toys), settings).stages)
    scan(str(toys), settings=settings)
    assert "view mean_colour" not in dict(plan_scan(str(toys), replace(settings, max_drop=0.1)).stages)


def test_a_verdict_that_is_kept_is_only_copied(toys: Path, tmp_path: Path) -> None:
    """The plan says that nothing will be computed, and nothing is measured for it."""
    settings = replace(FAST, store=str(tmp_path / "store"))
    scan(str(toys), tmp_path / "out", settings)
    plan = plan_scan(str(toys), settings)
    assert (plan.samples, plan.known, plan.computed, plan.recalled) == (TOTAL, TOTAL, 0, True)
    assert any("Nothing will be computed" in line for line in plan.lines())
    assert plan.seconds < 5


def test_rows_of_a_frozen_network_are_counted_exactly(toys: Path, network: str, tmp_path: Path) -> None:
    """Only contents without a row go through it; the head is fitted on all of them."""
    settings = replace(FAST, store=str(tmp_path / "store"), model=network, detectors=("deep_knn", "gradient_density"))
    part = tmp_path / "part"
    for name in CLASSES[:2]:
        (part / name).mkdir(parents=True)
        for path in sorted((toys / name).iterdir())[:11]:
            (part / name / path.name).write_bytes(path.read_bytes())
    assert plan_scan(str(toys), settings).computed == TOTAL
    scan(str(part), settings=settings)
    plan = plan_scan(str(toys), settings)
    assert (plan.known, plan.computed) == (22, TOTAL - 22)
    assert {"embedding with tiny.safetensors", "fitting the head"} <= dict(plan.stages).keys()


def test_a_reference_is_one_more_network(toys: Path, network: str) -> None:
    """It is planned beside the probe."""
    plan = plan_scan(str(toys), replace(FAST, reference=network))
    assert {"training the probe", "embedding with tiny.safetensors"} <= dict(plan.stages).keys()


def test_images_without_labels_are_planned_for_a_frozen_network(toys: Path, network: str, tmp_path: Path) -> None:
    """There is no head to fit."""
    for number, path in enumerate(sorted(toys.rglob("*.png"))):
        (tmp_path / f"{number}.png").write_bytes(path.read_bytes())
    plan = plan_scan(str(tmp_path), replace(FAST, model=network))
    assert plan.samples == TOTAL
    assert "fitting the head" not in dict(plan.stages)


@pytest.mark.parametrize("labelled", [True, False])
def test_vectors_are_planned(tmp_path: Path, *, labelled: bool) -> None:
    """They need no network; with labels, a head."""
    plan = plan_scan(vectors(tmp_path / "v.npz", labelled=labelled), FAST)
    assert (plan.samples, plan.bytes, plan.known, plan.computed) == (90, 90 * 32, 0, 0)
    assert ("fitting the head" in dict(plan.stages)) == labelled


def test_trusted_samples_are_part_of_the_work(toys: Path) -> None:
    """They are read, trained on and compared with like the suspects."""
    assert plan_scan(str(toys), replace(FAST, trusted=str(toys))).samples == 2 * TOTAL


@pytest.mark.parametrize(
    ("content", "settings"),
    [
        ("nowhere", {}),
        ("empty", {}),
        ("few", {}),
        ("broken", {}),
        ("one class", {}),
        ("no labels", {}),
        ("toys", {"detectors": ("nonesuch",)}),
        ("toys", {"device": "gpu"}),
        ("toys", {"model": "resnet"}),
        ("toys", {"trusted": "nowhere"}),
        ("vectors", {"model": "timm:vit"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_what_a_scan_refuses_a_plan_refuses_in_the_same_words(
    toys: Path, tmp_path: Path, content: str, settings: dict[str, Any]
) -> None:
    """Nobody plans for a scan that cannot be."""
    source = tmp_path / "source"
    pictures = sorted(toys.rglob("*.png"))
    if content not in ("nowhere", "toys"):
        (source / "one").mkdir(parents=True)
    for number, path in enumerate(pictures[: {"few": 9, "one class": 40, "no labels": 40}.get(content, 0)]):
        home = source if content == "no labels" else source / "one"
        (home / f"{number}.png").write_bytes(path.read_bytes())
    if content == "no labels":
        (source / "one").rmdir()
    if content == "broken":
        for number in range(SPECIMENS + 20):
            (source / "one" / f"{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes([number]))
    where = {"toys": str(toys), "vectors": vectors(tmp_path / "v.npz", labelled=True)}.get(content, str(source))
    asked = replace(FAST, **settings)
    with pytest.raises(SanitizerError) as refused:
        scan(where, settings=asked)
    with pytest.raises(SanitizerError) as planned:
        plan_scan(where, asked)
    assert (type(planned.value), str(planned.value)) == (type(refused.value), str(refused.value))


def test_a_survey_of_what_is_known_is_the_census(toys: Path, tmp_path: Path) -> None:
    """Sample by sample, with everything that is none; before, it only guesses what it did not decode."""
    root = tmp_path / "data"
    write_toys(root, each=30, planted=0, seed=3)
    (root / "bar" / "cut.png").write_bytes(next((root / "bar").glob("0*.png")).read_bytes()[:60])
    (root / "box" / "notes.txt").write_text("hello")
    store = Store.open(str(tmp_path / "store"))
    assert not survey(open_source(str(root)), store).exact
    census = take_census(open_source(str(root)), store=store)
    found = survey(open_source(str(root)), store)
    assert found.exact
    assert (found.census.samples, found.census.counts) == (census.samples, census.counts)
    assert sorted(found.census.others, key=lambda item: item.id) == sorted(census.others, key=lambda item: item.id)


def test_few_images_are_decoded_however_many_there_are(toys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is what makes a plan quick."""
    from sanitizer.sources import census as module

    seen: list[bytes] = []
    real = module.decode
    monkeypatch.setattr(module, "decode", lambda content, limits: seen.append(content) or real(content, limits))
    survey(open_source(str(toys)))
    assert len(seen) == SPECIMENS < TOTAL


def test_a_training_trial_stops_early_and_scales(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six steps are taken, of which the last four count: for n images, epochs and one look more."""
    moments = iter([0.0, 10.0, 20.0, *(20.0 + step for step in range(1, 5))])
    monkeypatch.setattr(trials.time, "perf_counter", lambda: next(moments))
    monkeypatch.setattr(trials, "PATIENCE", 1e9)
    plan = probe.plan_probe(100_000, 8, budget="fast", seed=0)
    few = replace(plan, recipe=replace(plan.recipe, epochs=5, batch_size=4))
    seconds = trials.training_seconds(100_000, 3, few, torch.device("cpu"), done=2)
    assert seconds == pytest.approx(1.0 / 4 * 100_000 * (5 - 2 + trials.FORWARD))


def test_the_lines_are_for_people() -> None:
    """Counts, stages in columns, and one line that says it all."""
    plan = Plan(
        samples=50_000, bytes=15_000_000, known=0, computed=50_000, recalled=False,
        stages=(("reading", 4.2), ("training the probe", 130.0), ("detectors", 0.2)),
        memory_bytes=1_800_000_000, disk_bytes=95_000_000,
    )  # fmt: skip
    assert plan.lines() == [
        "50,000 samples, 15.0 MB; 0 of them known to the store, 50,000 to go through a network",
        "reading                    4 s",
        "training the probe  2 min 10 s",
        "detectors            below 1 s",
        "about 2 min 10 s, 1.8 GB of memory, 95.0 MB of disk",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "below 1 s"), (1.4, "1 s"), (94.9, "95 s"), (95.1, "1 min 40 s"), (3569, "59 min 30 s"), (3600, "1 h")],
)
def test_a_duration_is_no_more_exact_than_an_estimate(seconds: float, text: str) -> None:
    """Seconds, then tens of seconds, then minutes."""
    assert duration(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1e3, "1.0 kB"), (123.4e6, "123 MB")])
def test_a_quantity_has_a_unit(count: float, text: str) -> None:
    """Powers of a thousand, two or three digits."""
    assert quantity(count) == text
