"""The one place that wires source -> evidence -> detectors -> verdict."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from detectors.base import Detector, Evidence, Graph, MissingEvidence
from sanitizer import registry
from sanitizer.engines.base import Engine, running
from sanitizer.errors import SourceError, UsageError
from sanitizer.progress import SILENT, Progress
from sanitizer.recall import Recall
from sanitizer.record import GALLERY, OWN_FILES, Verdict
from sanitizer.sources.base import Source, open_source
from sanitizer.sources.census import Census
from sanitizer.sources.decode import view_of
from sanitizer.sources.pooled import PooledSource
from sanitizer.store import Store
from sanitizer.writing import refuse_inside, whole_folder, write_whole

if TYPE_CHECKING:
    from sanitizer.extraction import Extracted, Extraction
    from sanitizer.second_look import SecondLook
    from sanitizer.verdict import Calibration, Judgement, Opinion

#: Fewer samples than this cannot train a probe that means anything.
LEAST_SAMPLES = 20
#: Level of false discovery for ``trusted`` where nobody names one.
FDR = 0.05


@dataclass(frozen=True, kw_only=True)
class ScanSettings:
    """Everything a scan can be told; command-line flags map onto it one to one."""

    model: str = "probe"
    reference: str | None = None
    detectors: tuple[str, ...] = ("auto",)
    trusted: str | None = None
    fdr: float | None = None
    max_drop: float = 0.2
    image_column: str | None = None
    label_column: str | None = None
    device: str = "auto"
    seed: int = 0
    budget: Literal["fast", "standard", "thorough"] = "standard"
    store: str | None = None
    engine: Literal["local", "ray"] = "local"
    decoding: Literal["exact", "scaled"] = "exact"

    def __post_init__(self) -> None:
        if self.decoding not in ("exact", "scaled"):
            raise UsageError(f"--decoding: expected exact or scaled, got {self.decoding!r}: choose one")
        if self.engine not in ("local", "ray"):
            raise UsageError(f"--engine: expected local or ray, got {self.engine!r}: choose one")
        if self.budget not in ("fast", "standard", "thorough"):
            raise UsageError(f"--budget: expected fast, standard or thorough, got {self.budget!r}: choose one")
        if not 0 < self.max_drop <= 1:
            raise UsageError(f"--max-drop: expected a share above 0 and at most 1, got {self.max_drop}: try 0.2")
        if not 0 <= self.seed < 2**31:
            raise UsageError(f"--seed: expected a whole number from 0 to {2**31 - 1}, got {self.seed}: try 0")
        if self.fdr is not None and self.trusted is None:
            raise UsageError("--fdr: expected a trusted source to compare with, got none: name it with --trusted")
        if self.fdr is not None and not 0 < self.fdr < 1:
            raise UsageError(f"--fdr: expected a level between 0 and 1, got {self.fdr}: try {FDR}")

    @property
    def looks_twice(self) -> bool:
        """Whether a second probe is trained: where there is time, and no guarantee that is for one look."""
        return self.budget == "thorough" and self.model == "probe" and self.trusted is None

    def asked(self) -> dict[str, Any]:
        """The settings as recorded; where things lie and where they are computed is no part of what was asked."""
        settings = asdict(self)
        for elsewhere in ("device", "engine", "store", "trusted"):
            del settings[elsewhere]
        if self.decoding == "exact":  # as every scan was before there was another way: the record stays the same
            del settings["decoding"]
        networks = {name: _file_name(settings[name]) for name in ("model", "reference")}
        return settings | networks | {"detectors": list(self.detectors)}


def scan(
    source: Any,
    out: str | Path | None = None,
    settings: ScanSettings | None = None,
    progress: Progress = SILENT,
) -> Verdict:
    """Scan a source (a path, or a dataset in memory) and, if ``out`` is given, write the verdict folder."""
    settings = settings or ScanSettings()
    chosen, store, pool = prepared(source, out, settings)
    if out is None:
        with running(settings, pool) as engine:
            return _Scan(pool, chosen, settings, store, progress, engine).verdict()
    with whole_folder(Path(out), replacing=OWN_FILES) as folder, running(settings, pool) as engine:
        scanning = _Scan(pool, chosen, settings, store, progress, engine)
        recall = Recall.of(store, scanning.census, decisive(settings, chosen, pool.uri) if store else None)
        verdict = recall.into(folder)
        if verdict is None:
            verdict = scanning.verdict()
            scanning.write(verdict, folder)
            scanning.remember(verdict)
            recall.keep(verdict, folder)
    return verdict


def prepared(
    source: Any, out: str | Path | None, settings: ScanSettings
) -> tuple[dict[str, Detector], Store | None, Source]:
    """Everything a scan begins with; refuses what can be refused before anything is read."""
    chosen = choose_detectors(settings.detectors, thorough=settings.budget == "thorough")
    suspect, trusted = opened(source, settings)
    pool = PooledSource(suspect, trusted) if trusted else suspect
    store = Store.open(settings.store, outside=[one.root for one in (suspect, trusted) if one])
    for one in (suspect, trusted) if out is not None else ():
        refuse_inside(Path(str(out)), one.root if one else None)
    if out is not None and store and Path(out).resolve() == store.root:
        raise UsageError(f"expected two folders, {str(out)!r} is --out and the store: name another for one")
    return chosen, store, pool


def opened(source: Any, settings: ScanSettings) -> tuple[Source, Source | None]:
    """The suspect source and the trusted one, as the settings say they are to be read."""
    columns = {"image_column": settings.image_column, "label_column": settings.label_column}
    return open_source(source, **columns), open_source(settings.trusted, **columns) if settings.trusted else None


def choose_detectors(wanted: tuple[str, ...], *, thorough: bool = False) -> dict[str, Detector]:
    """The detectors by name; ``auto`` stands for all of our own, the costly ones only where there is time."""
    picked: list[str] = []
    for name in wanted:
        picked += [name] if name != "auto" else _affordable(thorough)
    if not picked:
        raise UsageError("--detectors: expected at least one name, got none: see `sanitizer detectors`")
    return {name: registry.detector(name) for name in dict.fromkeys(picked)}


def wanted_spaces(detectors: Collection[Detector]) -> frozenset[str]:
    """Every space that these detectors read, or a graph of theirs is made in."""
    graphs = {Graph.parse(name).space for detector in detectors for name in detector.neighbors}
    return frozenset(graphs.union(*(detector.needs for detector in detectors)))


def _affordable(thorough: bool) -> list[str]:
    names = registry.names(registry.DETECTORS, own=True)
    return [name for name in names if thorough or not registry.detector(name).costly]


def passed_over(wanted: tuple[str, ...], chosen: Collection[str]) -> list[dict[str, str]]:
    """Who would have been asked, had there been time, and how to have them asked."""
    reason = "takes more than one look of the network: name it in --detectors, or give --budget thorough"
    absent = [name for name in _affordable(thorough=True) if name not in chosen]
    return [{"name": name, "reason": reason} for name in absent] if "auto" in wanted else []


@dataclass
class _Scan:
    """One run: what was asked, and how long each stage took."""

    source: Source
    detectors: Mapping[str, Detector]
    settings: ScanSettings
    store: Store | None
    progress: Progress
    engine: Engine
    timings: dict[str, float] = field(default_factory=dict)
    losses: np.ndarray | None = None
    extracted: Extracted | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)  # spaces that were wanted, and who computes them
    _within: float = 0.0  # seconds of stages within the one that runs

    @cached_property
    def census(self) -> Census:
        """Everything found, read once."""
        with self._timed("reading"):
            look = self._first_look
            return self.engine.census(
                self.source, store=self.store, progress=self.progress, limits=look.limits(),
                onlookers=look.onlookers() if self.source.holds == "images" else (), sides=look.sides,
            )  # fmt: skip

    def verdict(self) -> Verdict:
        """Read, embed, score, judge."""
        from sanitizer.conclusion import Findings, summary_of, table_of
        from sanitizer.verdict import Calibration, judge

        census = self.census
        trusted = trusted_rows(census, self.source)
        expect_samples(census, self.source)
        extracted, evidence = self._embed(census)
        opinions, not_run, failed = self._ask(evidence, self.detectors)
        with self._timed("judging"):
            calibration = Calibration(max_drop=self.settings.max_drop, fdr=self.settings.fdr or FDR, trusted=trusted)
            judgement = judge(evidence, opinions, calibration)
        second = self._look_again(judgement, extracted, calibration, failed)
        judgement = second.added_to(judgement) if second else judgement
        not_run += passed_over(self.settings.detectors, self.detectors)
        found = Findings(census, evidence, opinions, judgement, not_run, failed + judgement.doubts, trusted)
        model = extracted.model
        side = f", {extracted.side}x{extracted.side}" if extracted.side else ""
        view = f"{view_of(census.enough)}{side}" if census.holds == "images" else "float32 vectors as they are"
        return Verdict(
            table_of(found),
            summary_of(found)
            | {
                "source": self.source.uri,
                "calibration": calibration.facts() | self._reference_set(census, trusted),
                "parameters": self.settings.asked(),
                "seed": self.settings.seed,
                "timings": {stage: round(seconds, 3) for stage, seconds in self.timings.items()},
                "view": view,
                "model": model,
                "reference": extracted.reference,
                "device": self.settings.device,
            }
            | ({"second_look": second.model} if second else {}),
        )

    def write(self, verdict: Verdict, folder: Path) -> None:
        """Fill a verdict folder; the manifest, which vouches for the rest, comes before the report."""
        import pyarrow.parquet as pq

        from sanitizer.actions.gallery import build_gallery
        from sanitizer.actions.manifest import write_manifest
        from sanitizer.actions.report import write_report

        with self.progress.stage("writing", None):
            verdict.write(folder)
            sink = pa.BufferOutputStream()
            scenery = self._scenery(verdict)
            pq.write_table(build_gallery(verdict=verdict, census=self.census, losses=self.losses, **scenery), sink)
            write_whole(folder / GALLERY, sink.getvalue().to_pybytes())
            write_manifest(verdict, folder)
            write_report(folder)

    def remember(self, verdict: Verdict) -> None:
        """Keep what additions to this set can be compared with; of images with labels, seen without trusted ones."""
        from sanitizer.additions import remember

        census, extracted = self.census, self.extracted
        if extracted is None or census.holds != "images" or not census.class_names or self.settings.trusted:
            return
        if self.settings.decoding != "exact":  # additions are decoded exactly: other pixels than those fitted
            return
        frozen = {"kind": "backbone", "name": self.settings.model}
        probe = {
            "kind": "probe", "samples": len(census.samples), "side": extracted.side, "classes": len(census.class_names),
            "budget": self.settings.budget, "seed": self.settings.seed,
        }  # fmt: skip
        remember(self.store, verdict, extracted, probe if self.settings.model == "probe" else frozen)

    def _scenery(self, verdict: Verdict) -> dict[str, Any]:
        """What surrounds the flagged samples, by what the first look saw: their classes, and whom they look like."""
        from sanitizer.lookalikes import lookalikes
        from sanitizer.maps import class_maps

        census, spaces = self.census, self.extracted.spaces if self.extracted else {}
        ids = [sample.id for sample in census.samples]
        return {
            "positions": class_maps(spaces, ids, census.keys(), verdict), "alike": lookalikes(spaces, ids, verdict),
        }  # fmt: skip

    def _reference_set(self, census: Census, trusted: np.ndarray | None) -> dict[str, str]:
        """The identity of the trusted set: its contents and labels, wherever it lies."""
        if trusted is None:
            return {}
        rows = [census.samples[row] for row in np.flatnonzero(trusted)]
        said = "".join(f"{sample.digest} {sample.label}\n" for sample in rows)
        return {"digest": hashlib.sha256(said.encode()).hexdigest()}

    def _embed(self, census: Census) -> tuple[Extracted, Evidence]:
        extracted = self._first_look(census)
        self.losses, self.left_out, self.extracted = extracted.spaces.get("loss"), extracted.left_out, extracted
        return extracted, self._evidence(extracted.spaces, census, self.detectors)

    @cached_property
    def _first_look(self) -> Extraction:
        """At everything; frozen networks begin while it is being read."""
        return self._extraction(self.settings.seed, wanted_spaces(self.detectors.values()))

    def _extraction(self, seed: int, wanted: frozenset[str], *, reference: bool = True) -> Extraction:
        from sanitizer.devices import resolve_device

        return self.engine.extraction(
            model=self.settings.model, reference=self.settings.reference if reference else None,
            budget=self.settings.budget, seed=seed, device=resolve_device(self.settings.device), wanted=wanted,
            store=self.store, progress=self.progress, timed=self._timed, decoding=self.settings.decoding,
        )  # fmt: skip

    def _evidence(
        self, spaces: Mapping[str, np.ndarray], census: Census, detectors: Mapping[str, Detector]
    ) -> Evidence:
        from sanitizer.devices import resolve_device

        device = str(resolve_device(self.settings.device))
        return self.engine.evidence(spaces, census, detectors.values(), device=device, seed=self.settings.seed)

    def _look_again(
        self, first: Judgement, extracted: Extracted, calibration: Calibration, failed: list[str]
    ) -> SecondLook | None:
        """By another probe, at everything that the first look did not flag; None where there is nothing to see."""
        from sanitizer.second_look import OF_A_PROBE, SecondLook, asked_again, left_to_flag
        from sanitizer.verdict import judge

        rows, detectors = np.flatnonzero(~first.suspicious), asked_again(self.detectors)
        rest, left = self.census.only(rows), left_to_flag(first, calibration)
        if (
            not (self.settings.looks_twice and rest.holds == "images" and detectors and left)
            or len(np.unique(rest.labels())) < 2
        ):
            return None
        found = self._extraction(self.settings.seed + 1, frozenset(), reference=False)(rest)
        unchanged = {name: space[rows] for name, space in extracted.spaces.items() if name not in OF_A_PROBE}
        evidence = self._evidence(unchanged | found.spaces, rest, detectors)
        opinions, _, broken = self._ask(evidence, detectors)
        failed += broken
        with self._timed("judging"):
            return SecondLook(judge(evidence, opinions, left), rows, self.census.labels(), found.model)

    def _ask(
        self, evidence: Evidence, detectors: Mapping[str, Detector]
    ) -> tuple[dict[str, Opinion], list[dict[str, str]], list[str]]:
        """Every detector's opinion; which could not be asked, and which broke."""
        from sanitizer.verdict import Opinion

        opinions: dict[str, Opinion] = {}
        not_run: list[dict[str, str]] = []
        failed: list[str] = []
        with self.progress.stage("scoring", len(detectors)) as advance:
            for name, detector in detectors.items():
                with self._timed(f"detector {name}"):
                    try:
                        opinions[name] = Opinion(detector, *detector.opinion(evidence))
                    except MissingEvidence as why:
                        not_run.append({"name": name, "reason": self._left_out_of(detector) or str(why)})
                    except Exception as error:  # a plugin may raise anything: the scan says so and is incomplete
                        line = (str(error).splitlines() or [""])[0]
                        failed.append(f"detector {name} failed ({type(error).__name__}: {line})")
                advance(1)
        if not opinions:
            failed.append("no detector could be run")
        return opinions, not_run, failed

    def _left_out_of(self, detector: Detector) -> str:
        """Why a detector lacks what this scan could have computed; empty where it could not."""
        for space in sorted(self.left_out.keys() & wanted_spaces([detector])):
            return f"{detector!r} needs space {space!r}, which only {self.left_out[space]} computes"
        return ""

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        """The seconds of a stage, without those of stages within it."""
        start, outer, self._within = time.perf_counter(), self._within, 0.0
        try:
            yield
        finally:
            took = time.perf_counter() - start
            self.timings[stage] = self.timings.get(stage, 0.0) + took - self._within
            self._within = outer + took


def trusted_rows(census: Census, source: Source) -> np.ndarray | None:
    """Which samples are trusted; None where there is no trusted source."""
    if not isinstance(source, PooledSource):
        return None
    return np.array([source.is_trusted(sample.id) for sample in census.samples], bool)


def expect_samples(census: Census, source: Source) -> None:
    """Refuse a set that is too small to conclude anything from."""
    scanned, labels, trusted = len(census.samples), np.unique(census.labels()), trusted_rows(census, source)
    counts = ", ".join(f"{count} {status}" for status, count in census.counts.items() if count)
    where = f"in {source.uri!r}, got"
    if scanned < LEAST_SAMPLES:
        raise SourceError(f"expected at least {LEAST_SAMPLES} readable {census.holds} {where} {counts}: check the path")
    if trusted is not None and (trusted.all() or not trusted.any()):
        which = "suspect" if trusted.all() else "trusted"
        raise SourceError(f"expected readable {census.holds} in both sources, the {which} one has none: check it")
    if census.class_names and len(labels) < 2:
        only = census.class_names[labels[0]]
        raise SourceError(f"expected at least two classes {where} only {only!r}: a probe cannot learn from one")


def decisive(settings: ScanSettings, detectors: Mapping[str, Detector], uri: str) -> dict[str, Any] | None:
    """Everything besides the data that decides a verdict; None if not everything can be named."""
    if any(registry.origin(registry.DETECTORS, name) != registry.DISTRIBUTION for name in detectors):
        return None  # a stranger's code may change without notice
    files = [_file_digest(name) for name in (settings.model, settings.reference) if name]
    return settings.asked() | {
        "device": settings.device, "engine": settings.engine, "files": files, "source": uri,
        "trusted": bool(settings.trusted),
        "detectors": {name: repr(detector) for name, detector in detectors.items()},
    }  # fmt: skip


def _file_digest(name: str) -> str:
    """The identity of a checkpoint that a user named as a file, and of what may lie beside it to describe it;
    networks fetched by name keep theirs."""
    if not Path(name).is_file():
        return name
    digests = []
    for path in (Path(name), Path(name).parent / "config.json"):
        if path.is_file():
            with path.open("rb") as file:
                digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return " ".join(digests)


def _file_name(model: str | None) -> str | None:
    """A checkpoint's own name, wherever it lies: its digest is recorded with it."""
    return Path(model).name if model and model.endswith(".safetensors") else model
