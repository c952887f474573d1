"""The one place that wires source -> evidence -> detectors -> verdict."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from detectors.base import Detector, Evidence, MissingEvidence
from sanitizer import registry
from sanitizer.conclusion import Findings, summary_of, table_of
from sanitizer.errors import SourceError, UsageError
from sanitizer.progress import SILENT, Progress
from sanitizer.record import GALLERY, MANIFEST, REPORT, SUMMARY, TABLE, Verdict
from sanitizer.sources.base import Source, open_source
from sanitizer.sources.census import Census, take_census
from sanitizer.sources.decode import VIEW
from sanitizer.verdict import Calibration, Opinion, judge
from sanitizer.writing import refuse_inside, whole_folder, write_whole

#: Files of a verdict folder: a new scan may replace a folder that holds nothing else.
OWN_FILES = frozenset({TABLE, SUMMARY, GALLERY, MANIFEST, REPORT})
#: Fewer samples than this cannot train a probe that means anything.
LEAST_SAMPLES = 20


@dataclass(frozen=True, kw_only=True)
class ScanSettings:
    """Everything a scan can be told; command-line flags map onto it one to one."""

    model: str = "probe"
    detectors: tuple[str, ...] = ("auto",)
    max_drop: float = 0.2
    image_column: str | None = None
    label_column: str | None = None
    device: str = "auto"
    seed: int = 0
    budget: Literal["fast", "standard", "thorough"] = "standard"

    def __post_init__(self) -> None:
        if self.model != "probe":
            raise UsageError(f"--model: expected 'probe', got {self.model!r}: backbones are not in this version")
        if self.budget not in ("fast", "standard", "thorough"):
            raise UsageError(f"--budget: expected fast, standard or thorough, got {self.budget!r}: choose one")
        if not 0 < self.max_drop <= 1:
            raise UsageError(f"--max-drop: expected a share above 0 and at most 1, got {self.max_drop}: try 0.2")
        if not 0 <= self.seed < 2**31:
            raise UsageError(f"--seed: expected a whole number from 0 to {2**31 - 1}, got {self.seed}: try 0")

    def asked(self) -> dict[str, Any]:
        """The settings as recorded; where it is computed is no part of what was asked."""
        settings = asdict(self)
        del settings["device"]
        return settings | {"detectors": list(self.detectors)}


def scan(
    source: str | Path,
    out: str | Path | None = None,
    settings: ScanSettings | None = None,
    progress: Progress = SILENT,
) -> Verdict:
    """Scan a source and, if ``out`` is given, write the verdict folder."""
    settings = settings or ScanSettings()
    chosen = choose_detectors(settings.detectors)
    opened = open_source(str(source), image_column=settings.image_column, label_column=settings.label_column)
    if out is None:
        return _Scan(opened, chosen, settings, progress).verdict()
    refuse_inside(Path(out), opened.root)
    with whole_folder(Path(out), replacing=OWN_FILES) as folder:
        scanning = _Scan(opened, chosen, settings, progress)
        verdict = scanning.verdict()
        scanning.write(verdict, folder)
    return verdict


def choose_detectors(wanted: tuple[str, ...]) -> dict[str, Detector]:
    """The detectors by name; ``auto`` stands for all of our own."""
    picked: list[str] = []
    for name in wanted:
        picked += registry.names(registry.DETECTORS, own=True) if name == "auto" else [name]
    if not picked:
        known = ", ".join(registry.names(registry.DETECTORS))
        raise UsageError(f"--detectors: expected at least one name, got none: choose from {known}")
    return {name: registry.detector(name) for name in dict.fromkeys(picked)}


@dataclass
class _Scan:
    """One run: what was asked, and how long each stage took."""

    source: Source
    detectors: Mapping[str, Detector]
    settings: ScanSettings
    progress: Progress
    timings: dict[str, float] = field(default_factory=dict)
    losses: np.ndarray | None = None
    census: Census | None = None

    def verdict(self) -> Verdict:
        """Read, embed, score, judge."""
        with self._timed("reading"):
            self.census = census = take_census(self.source, progress=self.progress)
        self._expect_classes(census)
        evidence, model = self._embed(census)
        opinions, not_run, failed = self._ask(evidence)
        with self._timed("judging"):
            calibration = Calibration(max_drop=self.settings.max_drop)
            judgement = judge(evidence, opinions, calibration)
        if not judgement.conclusive:
            failed.append("no class is large enough to be judged")
        found = Findings(census, evidence, opinions, judgement, not_run, failed)
        return Verdict(
            table_of(found),
            summary_of(found)
            | {
                "source": self.source.uri,
                "calibration": calibration.facts(),
                "parameters": self.settings.asked(),
                "seed": self.settings.seed,
                "timings": {stage: round(seconds, 3) for stage, seconds in self.timings.items()},
                "view": f"{VIEW}, {model['side']}x{model['side']}",
                "model": model,
                "device": self.settings.device,
            },
        )

    def write(self, verdict: Verdict, folder: Path) -> None:
        """Fill a verdict folder; the manifest, which vouches for the rest, comes before the report."""
        import pyarrow.parquet as pq

        from sanitizer.actions.gallery import build_gallery
        from sanitizer.actions.manifest import write_manifest
        from sanitizer.actions.report import write_report

        assert self.census is not None
        with self.progress.stage("writing", None):
            verdict.write(folder)
            sink = pa.BufferOutputStream()
            pq.write_table(build_gallery(verdict=verdict, census=self.census, losses=self.losses), sink)
            write_whole(folder / GALLERY, sink.getvalue().to_pybytes())
            write_manifest(verdict, folder)
            write_report(folder)

    def _expect_classes(self, census: Census) -> None:
        scanned, labels = len(census.samples), np.unique(census.labels())
        counts = ", ".join(f"{count} {status}" for status, count in census.counts.items() if count)
        where = f"in {self.source.uri!r}, got"
        if scanned < LEAST_SAMPLES:
            raise SourceError(f"expected at least {LEAST_SAMPLES} readable images {where} {counts}: check the path")
        if not self.source.class_names:
            advice = "sort them into class folders or name --label-column"
            raise SourceError(f"expected labelled images {where} none with a label: {advice}")
        if len(labels) < 2:
            only = self.source.class_names[labels[0]]
            raise SourceError(f"expected at least two classes {where} only {only!r}: a probe cannot learn from one")

    def _embed(self, census: Census) -> tuple[Evidence, dict[str, object]]:
        from sanitizer.embed.device import resolve_device
        from sanitizer.embed.probe import plan_probe, train_probe
        from sanitizer.evidence import build_evidence

        device = resolve_device(self.settings.device)
        labels, keys = census.labels(), census.keys()
        plan = plan_probe(len(labels), census.native_side(), budget=self.settings.budget, seed=self.settings.seed)
        with self._timed("decoding"):
            pixels = census.views(plan.side)
        total = len(labels) * (plan.recipe.epochs + 1)
        with self._timed("training the probe"), self.progress.stage("training the probe", total) as advance:
            found = train_probe(pixels, labels, keys, len(census.class_names), plan, device=device, on_batch=advance)
        self.losses = found.loss
        spaces: dict[str, np.ndarray] = {"feature": found.feature, "residual": found.residual, "loss": found.loss}
        evidence = build_evidence(
            spaces, labels, census.class_names, keys, self.detectors.values(),
            device=str(device), seed=self.settings.seed,
        )  # fmt: skip
        return evidence, found.model

    def _ask(self, evidence: Evidence) -> tuple[dict[str, Opinion], list[dict[str, str]], list[str]]:
        """Every detector's opinion; which could not be asked, and which broke."""
        opinions: dict[str, Opinion] = {}
        not_run: list[dict[str, str]] = []
        failed: list[str] = []
        with self.progress.stage("scoring", len(self.detectors)) as advance:
            for name, detector in self.detectors.items():
                with self._timed(f"detector {name}"):
                    try:
                        opinions[name] = Opinion(detector, detector.score(evidence), detector.class_scores(evidence))
                    except MissingEvidence as why:
                        not_run.append({"name": name, "reason": str(why)})
                    except Exception as error:  # a plugin may raise anything: the scan says so and is incomplete
                        line = (str(error).splitlines() or [""])[0]
                        failed.append(f"detector {name} failed ({type(error).__name__}: {line})")
                advance(1)
        if not opinions:
            failed.append("no detector could be run")
        return opinions, not_run, failed

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.timings[stage] = self.timings.get(stage, 0.0) + time.perf_counter() - start
