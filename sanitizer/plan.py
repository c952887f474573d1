"""The plan: what a scan will need, measured on small parts of it before any of it is done."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detectors.base import Detector, Graph
from sanitizer.pipeline import ScanSettings, decisive, expect_samples, prepared, wanted_spaces
from sanitizer.progress import SILENT, Progress
from sanitizer.recall import Recall
from sanitizer.sources.decode import fit
from sanitizer.store import Shelf, Store
from sanitizer.survey import Survey, survey

if TYPE_CHECKING:
    import numpy as np

    from sanitizer.embed.probe import ProbePlan
    from sanitizer.extraction import Extraction

#: What a sample adds to a verdict folder, beside 9 bytes a detector, and to the store's facts: as measured.
VERDICT_BYTES, FACT_BYTES = 340, 90
#: What a verdict folder holds besides: a page and a summary, and thumbnails of as many suspects as are shown.
PAGE_BYTES, PICTURES_BYTES = 40_000, 400_000
#: What a sample is in Python: its names, digests and places in lists.
SAMPLE_BYTES = 3_000
#: Memory of a process that has loaded what a scan loads, where the system does not say.
LOADED_BYTES = 500 * 2**20


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a scan will need."""

    samples: int
    bytes: int  # as stored
    known: int  # samples whose content the store has met before
    computed: int  # samples that a network has to look at
    recalled: bool  # the store has the verdict itself
    stages: tuple[tuple[str, float], ...]  # name, seconds
    memory_bytes: int  # at its peak
    disk_bytes: int  # of the verdict folder, and in the store

    @property
    def seconds(self) -> float:
        """The whole scan."""
        return sum(seconds for _, seconds in self.stages)

    def lines(self) -> list[str]:
        """For people."""
        new = "" if self.recalled else f", {self.computed:,} to go through a network"
        lines = [f"{self.samples:,} samples, {quantity(self.bytes)}; {self.known:,} of them known to the store{new}"]
        if self.recalled:
            lines.append("Nothing will be computed: the store has the verdict of this very scan.")
        stages = [(name, duration(seconds)) for name, seconds in self.stages]
        left, right = (max(map(len, column)) for column in zip(*stages, strict=True))
        lines += [f"{name:<{left}}  {text:>{right}}" for name, text in stages]
        needs = f"{quantity(self.memory_bytes)} of memory, {quantity(self.disk_bytes)} of disk"
        return [*lines, f"about {duration(max(self.seconds, 1.0))}, {needs}"]


def duration(seconds: float) -> str:
    """A time for people, no more exact than an estimate is.

    >>> duration(0.2), duration(42.4), duration(158), duration(9000)
    ('below 1 s', '42 s', '2 min 40 s', '2 h 30 min')
    """
    if seconds < 0.95:
        return "below 1 s"
    if seconds < 95:
        return f"{seconds:.0f} s"
    if seconds < 3570:
        minutes, rest = divmod(round(seconds / 10) * 10, 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours:,} h {minutes} min" if minutes else f"{hours:,} h"


def quantity(count: float) -> str:
    """Bytes for people.

    >>> quantity(512), quantity(15_000_000), quantity(1.8e9)
    ('512 bytes', '15.0 MB', '1.8 GB')
    """
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}" if count < 99.5 * size else f"{count / size:,.0f} {unit}"
    return f"{count:.0f} bytes"


def plan_scan(
    source: Any,
    settings: ScanSettings | None = None,
    out: str | Path | None = None,
    progress: Progress = SILENT,
) -> Plan:
    """What ``scan`` with the same arguments will need; refuses what it would refuse, and starts nothing."""
    settings = settings or ScanSettings()
    detectors, store, pool = prepared(source, out, settings)
    found = survey(pool, store, progress)
    making = _Making(found, settings, detectors, store)
    if Recall.of(store, found.census, decisive(settings, detectors, pool.uri)).known:
        return making.recalled()
    expect_samples(found.census, pool)
    with progress.stage("measuring", None):
        return making.plan()


@dataclass
class _Making:
    """One plan in the making: seconds and bytes add up as it goes."""

    found: Survey
    settings: ScanSettings
    detectors: Mapping[str, Detector]
    store: Store | None
    starting: float = 0.0  # seconds until everything is imported and loaded
    stages: list[tuple[str, float]] = field(default_factory=list)
    widths: dict[str, int] = field(default_factory=dict)  # of every space
    loaded: int = 0  # bytes in use when everything is imported and warm
    held: int = 0  # bytes that are held beside that
    kept: int = 0  # bytes that the store gains
    computed: int = 0

    @property
    def n(self) -> int:
        return len(self.found.census.samples)

    @property
    def classes(self) -> int:
        return len(self.found.census.class_names)

    def recalled(self) -> Plan:
        """Everything is read and digested again, and the old folder comes out of the store."""
        self.stages.append(("reading", self.found.listing))
        return self._plan(recalled=True, memory=_in_use(), disk=self._folder())

    def plan(self) -> Plan:
        with self._starting():
            extract = self._extraction()
        self._reading()
        if self.found.census.holds == "vectors":
            self._vectors()
        elif extract.model == "probe":
            self._probe(extract)
        else:
            self._frozen(extract, extract.model, "feature")
            self.widths["reference"] = self.widths["feature"]
        if extract.reference is not None:
            self._frozen(extract, extract.reference, "reference")
        if extract.model != "probe" or self.found.census.holds == "vectors":
            self._head(extract)
        self._pixel_spaces(extract)
        self.loaded = self.loaded or _in_use()
        self._scoring(extract)
        copies = 2 if self.store else 1  # the store keeps one of the folder
        return self._plan(
            recalled=False, memory=self.loaded + self.held + self._judging(), disk=copies * self._folder() + self.kept
        )

    def _plan(self, *, recalled: bool, memory: int, disk: int) -> Plan:
        return Plan(
            samples=self.n, bytes=self.found.bytes, known=self.n if recalled else self.found.known,
            computed=self.computed, recalled=recalled, stages=(("starting", self.starting), *self.stages),
            memory_bytes=memory, disk_bytes=disk,
        )  # fmt: skip

    def _extraction(self) -> Extraction:
        import sanitizer.trials  # noqa: F401 - loads what a scan loads, so that the clock sees it
        from sanitizer.devices import resolve_device
        from sanitizer.extraction import Extraction

        extract = Extraction(
            model=self.settings.model, reference=self.settings.reference, budget=self.settings.budget,
            seed=self.settings.seed, device=resolve_device(self.settings.device), store=self.store,
            wanted=wanted_spaces(self.detectors.values()),
        )  # fmt: skip
        extract.expect(self.found.census)
        return extract

    def _reading(self) -> None:
        self.stages.append(("reading", self.found.listing + self.found.new * self.found.decoding))
        self.held += self.found.decoded_bytes if self.found.kept else 0  # what the census keeps for later
        self.kept += FACT_BYTES * self.found.new

    def _vectors(self) -> None:
        self.widths |= dict.fromkeys(("feature", "reference"), self.found.census.samples[0].size[0])
        self.held += 4 * self.n * self.widths["feature"]  # float32

    def _probe(self, extract: Extraction) -> None:
        """Nothing if the run is kept, what is left of it if it was interrupted."""
        from sanitizer.embed.kept import kept_checkpoint, kept_probe
        from sanitizer.embed.probe import plan_probe
        from sanitizer.trials import training_seconds

        plan = plan_probe(self.n, self.found.census.native_side(), budget=extract.budget, seed=extract.seed)
        finished, interrupted = extract.probe_shelves(self.found.census, plan)
        run = kept_probe(finished) if finished else None
        state = kept_checkpoint(interrupted) if interrupted else None
        epochs = plan.recipe.epochs
        self.widths |= {"feature": 8 * plan.width, "residual": self.classes, "loss": epochs}
        spaces = self.n * (2 * 8 * plan.width + 4 * self.classes + 4 * epochs)  # float16, float32, float32
        self.held += spaces
        if run is None:
            self.computed = self.n
            self.kept += spaces
            self.held += 3 * self.n * plan.side**2  # the pixels that are trained on
            self._decoding(self.n, plan.side)
            seconds = training_seconds(self.n, self.classes, plan, extract.device, done=state.epochs if state else 0)
            self.stages.append(("training the probe", seconds))
        if self.settings.looks_twice:  # the second probe's set depends on what the first finds: at most all
            again = training_seconds(self.n, self.classes, plan, extract.device)
            self.stages.append(("training a second probe", again))
            self.held += spaces
            self.kept += spaces
        self._views(extract, plan, decoded=run is None)

    def _views(self, extract: Extraction, plan: ProbePlan, *, decoded: bool) -> None:
        """What the trained probe is asked besides, and has not said before."""
        from sanitizer.embed.views import LOOKS
        from sanitizer.trials import look_seconds

        for name, look in LOOKS.items():
            wanted = extract.views() & frozenset(look.spaces)
            if not wanted:
                continue
            shelves = {space: extract.view_shelf(self.found.census, plan, space) for space in wanted}
            missing = [space for space, shelf in shelves.items() if shelf is None or next(shelf.tables(), None) is None]
            seconds, rows = look_seconds(name, wanted, self.n, self.classes, plan, extract.device)
            self._space(rows, missing)
            if missing:
                if not decoded:
                    self._decoding(self.n, plan.side)
                    decoded = True
                self.stages.append((f"view {name}", seconds))

    def _pixel_spaces(self, extract: Extraction) -> None:
        """What pixels say without a model, and have not said before."""
        from sanitizer.extraction import pixel_side
        from sanitizer.trials import pixel_seconds

        side, decoded = pixel_side(self.found.census), False
        for space in extract.pixel_spaces(self.found.census):
            shelf = extract.pixel_shelf(self.found.census, space)
            missing = shelf is None or next(shelf.tables(), None) is None
            seconds, rows = pixel_seconds(space, self.n, self.classes, side, extract.device)
            self._space({space: rows}, [space] if missing else [])
            if missing:
                if not decoded:
                    self._decoding(self.n, side)
                    decoded = True
                self.stages.append((f"view {space}", seconds))

    def _space(self, rows: Mapping[str, np.ndarray], missing: Collection[str]) -> None:
        """Spaces that will be held, and kept where they are ``missing``."""
        for space, specimen in rows.items():
            self.widths[space] = specimen.shape[1]
            self.held += self.n * specimen[0].nbytes
            self.kept += self.n * specimen[0].nbytes if space in missing else 0

    def _frozen(self, extract: Extraction, name: str, space: str) -> None:
        """Only what the store does not have goes through a frozen network."""
        from sanitizer.embed.backbone import open_backbone
        from sanitizer.trials import embedding_seconds

        with self._starting():
            backbone = open_backbone(name, device=extract.device)
        shelf = extract.rows_shelf(backbone)
        missing = {sample.digest for sample in self.found.census.samples} - _embedded(shelf, backbone.width)
        self.widths[space] = backbone.width
        self.computed = max(self.computed, sum(sample.digest in missing for sample in self.found.census.samples))
        self.held += 2 * self.n * backbone.width  # float16
        self.kept += (2 * backbone.width + 32) * len(missing)
        if missing:
            self._decoding(len(missing), backbone.side)
            self.stages.append((f"embedding with {backbone.name}", embedding_seconds(len(missing), backbone)))

    def _decoding(self, images: int, side: int) -> None:
        """Images as squares; decoded once more where the first reading did not keep them."""
        specimens = self.found.specimens
        start = time.perf_counter()
        for pixels in specimens:
            fit(pixels, side)
        seconds = images * (time.perf_counter() - start) / max(1, len(specimens))
        if not self.found.kept:
            seconds += self.found.listing + images * self.found.decoding
        self.stages.append(("decoding", seconds))

    def _head(self, extract: Extraction) -> None:
        from sanitizer.trials import head_seconds

        if self.classes:
            self.widths["residual"] = self.classes
            self.held += 4 * self.n * self.classes  # residual, float32
            self.stages.append(
                ("fitting the head", head_seconds(self.n, self.widths["feature"], self.classes, extract.device))
            )

    def _scoring(self, extract: Extraction) -> None:
        """Graphs and detectors, tried on noise of the right shape."""
        from sanitizer.trials import detector_seconds, search_seconds

        sizes = self._sizes()
        device, width = str(extract.device), self.widths["feature"]
        searching = search_seconds(self._graphs(), sizes, width, max(1, self.classes), device)
        self.stages.append(("searching neighbours", searching))
        self.stages.append(("detectors", detector_seconds(self.detectors, sizes, self.widths, self.classes)))

    def _sizes(self) -> list[int]:
        """Of all classes; a set without labels is one class."""
        counts: dict[int | None, int] = {}
        for sample in self.found.census.samples:
            counts[sample.label] = counts.get(sample.label, 0) + 1
        return list(counts.values())

    def _graphs(self) -> list[str]:
        """The neighbour graphs that will be built."""
        names = dict.fromkeys(
            name for detector in self.detectors.values() if self.classes or not detector.uses_labels
            for name in detector.neighbors
        )  # fmt: skip
        have = {*self.widths, "gradient"} if "residual" in self.widths else set(self.widths)
        return [name for name in names if Graph.parse(name).space in have]

    def _judging(self) -> int:
        """Bytes that detectors and verdict need at their peak."""
        copies = 4 * 8 * self.n * self.widths["feature"]  # float64: rows, residuals, whitened, a product on the way
        graphs = len(self._graphs()) * 32 * (4 + 8) * self.n  # distances and indices of 32 neighbours
        searched = 2 * 4 * max(self._sizes()) * self.widths["feature"]  # the rows of one class, centred and indexed
        return copies + graphs + searched + SAMPLE_BYTES * self.n

    def _folder(self) -> int:
        return (VERDICT_BYTES + 9 * len(self.detectors)) * self.n + PAGE_BYTES + PICTURES_BYTES

    @contextmanager
    def _starting(self) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.starting += time.perf_counter() - start


def _embedded(shelf: Shelf | None, width: int) -> set[str]:
    """The contents whose rows the store has."""
    tables = [table for table in (shelf.tables() if shelf else ()) if table["value"].type.list_size == width]
    return {digest.hex() for table in tables for digest in table["digest"].to_pylist()}


def _in_use() -> int:
    """The most memory that this process has used so far: interpreter, packages, and a batch's activations."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return LOADED_BYTES
