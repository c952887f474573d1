"""The table of the import law: who may import whom. A row is not widened so that an import passes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Room:
    """What the modules of a room may import, besides the standard library, numpy and the room itself.

    ``may`` is the whole list: what it does not name is refused. ``lazily`` holds only inside functions and under
    ``if TYPE_CHECKING``; everywhere else imports under ``TYPE_CHECKING`` count like any other. ``never`` repeats what
    the room exists to be kept from, so that nobody lengthens ``may`` by it.
    """

    may: tuple[str, ...] = ()
    lazily: tuple[str, ...] = ()
    never: tuple[str, ...] = ()


#: Small modules that know no other room, and that any room but nets and detectors may use.
COMMON = ("sanitizer.errors", "sanitizer.progress", "sanitizer.store", "sanitizer.writing")
#: Rooms on the way from a source to a verdict folder.
FLOW = (
    *COMMON,
    "sanitizer.sources",
    "sanitizer.embed",
    "sanitizer.index",
    "sanitizer.evidence",
    "sanitizer.verdict",
    "sanitizer.record",
    "sanitizer.actions",
)
EVERYTHING_OF_OURS = (
    "sanitizer.baseline",
    *FLOW,
    "detectors",
    "sanitizer.attacks",
    "sanitizer.classifiers",
    "sanitizer.demo",
    "sanitizer.devices",
    "sanitizer.doctor",
    "sanitizer.ending",
    "sanitizer.engines",
    "sanitizer.evaluation",
    "sanitizer.gate",
    "sanitizer.hooks",
    "sanitizer.interop",
    "sanitizer.nets",
    "sanitizer.outcome",
    "sanitizer.pipeline",
    "sanitizer.plan",
    "sanitizer.policy",
    "sanitizer.registry",
    "sanitizer.training",
)
#: Imported by nobody, whatever the room.
OUTSIDE = ("tests", "benchmarks", "scratch")

ROOMS = {
    "detectors": Room(
        may=("scipy", "sklearn"),
        never=("torch", "faiss", "PIL", "datasets", "pyarrow", "sanitizer"),
    ),
    "sanitizer.errors": Room(never=("sanitizer", "detectors", "numpy")),
    "sanitizer.progress": Room(never=("sanitizer", "detectors", "numpy")),
    "sanitizer.writing": Room(may=("sanitizer.errors",)),
    "sanitizer.store": Room(may=("sanitizer.errors", "sanitizer.writing", "pyarrow")),
    "sanitizer.sources": Room(
        may=(*COMMON, "PIL", "pyarrow"),
        lazily=("datasets",),
        never=("torch", "detectors"),
    ),
    "sanitizer.nets": Room(may=("torch",), never=("sanitizer", "detectors")),
    "sanitizer.devices": Room(may=("sanitizer.errors", "torch"), never=("detectors",)),
    # What attacks craft against and victims are: our own networks, or pretrained ones with a head for the labels.
    "sanitizer.classifiers": Room(
        may=("sanitizer.errors", "sanitizer.nets", "sanitizer.embed", "torch"),
        lazily=("torchvision",),
        never=("sanitizer.sources", "sanitizer.attacks", "detectors"),
    ),
    "sanitizer.embed": Room(
        may=(
            *COMMON, "sanitizer.nets", "sanitizer.sources.base",
            "torch", "torchvision", "safetensors", "pyarrow",  # pyarrow: the embedding store
        ),
        lazily=("timm",),
        never=("sanitizer.index", "sanitizer.verdict", "sanitizer.attacks", "detectors", "PIL"),
    ),
    "sanitizer.index": Room(
        may=("sanitizer.errors", "detectors.base"),
        lazily=("faiss", "torch"),
        never=("sanitizer.sources", "sanitizer.embed"),
    ),
    "sanitizer.index.tiles": Room(  # the search in bf16, imported by those who run it
        may=("sanitizer.index", "torch"),
        never=("sanitizer.sources", "sanitizer.embed"),
    ),
    "sanitizer.evidence": Room(
        may=("sanitizer.errors", "sanitizer.embed", "sanitizer.index", "detectors.base"),
        never=("sanitizer.verdict", "sanitizer.sources", "sanitizer.attacks"),
    ),
    "sanitizer.conformal": Room(never=("sanitizer", "detectors", "torch")),
    "sanitizer.membership": Room(
        may=("sanitizer.conformal", "scipy"), never=("sanitizer.sources", "detectors")
    ),
    "sanitizer.verdict": Room(
        may=("sanitizer.errors", "sanitizer.conformal", "sanitizer.membership", "detectors.base", "scipy"),
        never=("sanitizer.sources", "sanitizer.embed", "sanitizer.index", "torch"),
    ),
    "sanitizer.second_look": Room(
        may=("sanitizer.verdict", "detectors.base"),
        never=("sanitizer.sources", "sanitizer.embed", "sanitizer.index", "torch"),
    ),
    "sanitizer.record": Room(
        may=("sanitizer.errors", "sanitizer.writing", "pyarrow"),
        lazily=("sanitizer.interop", "sanitizer.notebook"),  # what else a verdict can be shown as or handed on as
        never=("sanitizer.sources", "detectors", "torch"),
    ),
    "sanitizer.notebook": Room(
        may=("sanitizer.record", "sanitizer.actions.report"),
        never=("sanitizer.sources", "sanitizer.embed", "detectors", "torch"),
    ),
    # A scan up to its features, and a verdict, in the conventions of other tools.
    "sanitizer.interop": Room(
        may=(
            *COMMON, "sanitizer.record", "sanitizer.sources", "sanitizer.extraction", "sanitizer.index",
            "sanitizer.pipeline", "pyarrow",
        ),
        lazily=("sanitizer.devices", "scipy"),
        never=("sanitizer.embed", "sanitizer.attacks", "sanitizer.evaluation", "detectors"),
    ),
    "sanitizer.additions": Room(
        may=("sanitizer.record", "sanitizer.sources", "sanitizer.store", "pyarrow"),
        lazily=("sanitizer.embed", "sanitizer.extraction", "safetensors", "torch"),
        never=("detectors", "sanitizer.verdict", "sanitizer.pipeline"),
    ),
    "sanitizer.baseline": Room(
        may=("sanitizer.actions", "sanitizer.errors", "sanitizer.record", "pyarrow"),
        never=("sanitizer.sources", "sanitizer.embed", "detectors", "torch"),
    ),
    "sanitizer.actions": Room(
        may=(
            *COMMON, "sanitizer.verdict", "sanitizer.record", "sanitizer.outcome", "sanitizer.sources",
            "pyarrow", "jinja2", "markupsafe",
        ),
        lazily=("model_signing",),
        never=("sanitizer.embed", "detectors", "torch"),
    ),
    "sanitizer.extraction": Room(
        may=(
            *COMMON, "sanitizer.record", "sanitizer.sources.census",
            "sanitizer.sources.ahead", "sanitizer.sources.decode",  # how many cores and how much detail it needs
        ),
        lazily=("sanitizer.embed", "sanitizer.nets", "torch"),
        never=("sanitizer.index", "sanitizer.verdict", "sanitizer.attacks", "detectors"),
    ),
    "sanitizer.maps": Room(
        may=("sanitizer.actions.chosen", "sanitizer.record", "detectors", "pyarrow"),
        never=("sanitizer.sources", "sanitizer.embed", "sanitizer.index", "torch"),
    ),
    "sanitizer.lookalikes": Room(
        may=("sanitizer.actions.chosen", "sanitizer.record", "pyarrow"),
        never=("sanitizer.sources", "sanitizer.embed", "sanitizer.index", "detectors", "torch"),
    ),
    "sanitizer.recall": Room(
        may=(*COMMON, "sanitizer.record", "sanitizer.sources.census", "pyarrow"),
        never=("torch", "detectors", "sanitizer.embed", "sanitizer.index", "sanitizer.verdict", "sanitizer.attacks"),
    ),
    "sanitizer.pipeline": Room(
        may=(
            *FLOW, "sanitizer.conclusion", "sanitizer.extraction", "sanitizer.recall", "sanitizer.engines",
            "sanitizer.additions", "sanitizer.lookalikes", "sanitizer.maps", "sanitizer.registry",
            "sanitizer.second_look", "detectors.base", "pyarrow",
        ),
        lazily=("sanitizer.devices",),
        never=("sanitizer.attacks", "sanitizer.evaluation", "sanitizer.training"),
    ),
    "sanitizer.engines": Room(
        may=(*FLOW, "sanitizer.extraction", "detectors.base", "pyarrow", "torch"),
        lazily=("ray", "sanitizer.devices", "sanitizer.pipeline"),
        never=("sanitizer.attacks", "sanitizer.evaluation", "sanitizer.training"),
    ),
    # What a gate lets through, what it came to, and how it finds out.
    "sanitizer.policy": Room(may=("sanitizer.errors",), never=("detectors",)),
    "sanitizer.outcome": Room(may=("sanitizer.policy", "sanitizer.record"), never=("sanitizer.pipeline", "detectors")),
    "sanitizer.gate": Room(
        may=(
            *COMMON, "sanitizer.verdict", "sanitizer.record", "sanitizer.actions", "sanitizer.sources", "pyarrow",
            "sanitizer.baseline", "sanitizer.outcome", "sanitizer.policy",
        ),
        lazily=("sanitizer.pipeline",),  # only when a scan is needed
        never=("sanitizer.embed", "sanitizer.index", "detectors"),
    ),
    # What a row came to, found again by content; who scanned it, and how, is not known here.
    "sanitizer.hooked": Room(
        may=("sanitizer.errors", "sanitizer.sources", "pyarrow"),
        never=("sanitizer.pipeline", "sanitizer.embed", "sanitizer.index", "detectors", "PIL"),
    ),
    "sanitizer.hooks": Room(
        may=(
            *COMMON, "sanitizer.hooked", "sanitizer.verdict", "sanitizer.record", "sanitizer.actions",
            "sanitizer.additions", "sanitizer.sources", "pyarrow",
        ),
        lazily=("sanitizer.pipeline", "datasets"),
        never=("sanitizer.embed", "sanitizer.index", "detectors"),
    ),
    "sanitizer.attacks": Room(
        may=(
            *COMMON, "sanitizer.nets", "sanitizer.classifiers", "sanitizer.devices", "sanitizer.sources",
            "torch", "pyarrow", "safetensors",
        ),
        never=("detectors", "sanitizer.evidence", "sanitizer.verdict", "sanitizer.pipeline"),
    ),
    "sanitizer.training": Room(
        may=(
            *COMMON, "sanitizer.nets", "sanitizer.attacks", "sanitizer.index", "sanitizer.embed.gradients", "detectors",
            "torch",
            "sanitizer.sources.decode", "sanitizer.sources.encode",  # JPEG, as purify has it
        ),
        lazily=("opacus",),
        never=("sanitizer.pipeline",),
    ),
    "sanitizer.evaluation": Room(
        may=(
            *COMMON, "sanitizer.pipeline", "sanitizer.attacks", "sanitizer.nets", "sanitizer.classifiers",
            "sanitizer.devices", "sanitizer.verdict", "sanitizer.record", "sanitizer.registry",
            "sanitizer.sources", "sanitizer.actions.report", "scipy", "torch", "pyarrow", "jinja2", "markupsafe",
        ),
    ),
    # Names become classes, so what is named is imported only when it is asked for.
    "sanitizer.registry": Room(may=("sanitizer.errors",), lazily=("detectors", "sanitizer.attacks.base")),
    # The package's own names load on first use; a type checker sees all of them.
    "sanitizer": Room(may=("sanitizer.registry",), lazily=EVERYTHING_OF_OURS),
    "sanitizer.cli": Room(
        may=(
            "sanitizer", "sanitizer.bars", "sanitizer.commands", "sanitizer.errors", "sanitizer.options",
            "sanitizer.registry", "sanitizer.terminal", "typer",
        ),
        lazily=EVERYTHING_OF_OURS,
    ),
    "sanitizer.commands": Room(
        may=("sanitizer.bars", "sanitizer.errors", "sanitizer.options", "sanitizer.terminal", "typer"),
        lazily=EVERYTHING_OF_OURS,
    ),
    "sanitizer.integrations": Room(
        may=(
            "sanitizer.actions", "sanitizer.errors", "sanitizer.record", "sanitizer.sources.base",
            "sanitizer.training", "lightning", "torch", "transformers",
        ),
        lazily=("sanitizer.gate", "sanitizer.outcome", "sanitizer.policy"),
        never=("sanitizer.embed", "sanitizer.index", "detectors", "sanitizer.attacks"),
    ),
    "sanitizer.options": Room(may=("typer",), never=("sanitizer",)),
    # What a scan will need: a source listed, parts of the work timed, and the sum of it.
    "sanitizer.survey": Room(may=(*COMMON, "sanitizer.sources"), never=("sanitizer.pipeline", "sanitizer.embed")),
    "sanitizer.trials": Room(
        may=("sanitizer.evidence", "sanitizer.index", "detectors.base"),
        lazily=("sanitizer.embed", "sanitizer.nets", "torch"),
        never=("sanitizer.sources", "sanitizer.pipeline"),
    ),
    "sanitizer.plan": Room(
        may=(
            *COMMON, "sanitizer.pipeline", "sanitizer.recall", "sanitizer.sources", "sanitizer.survey",
            "detectors.base",
        ),
        lazily=("sanitizer.devices", "sanitizer.embed", "sanitizer.extraction", "sanitizer.trials", "torch"),
        never=("sanitizer.attacks", "sanitizer.evaluation", "sanitizer.verdict"),
    ),
    "sanitizer.conclusion": Room(
        may=("detectors.base", "sanitizer.record", "sanitizer.sources", "sanitizer.verdict", "pyarrow"),
    ),
    "sanitizer.terminal": Room(may=("rich",)),
    "sanitizer.bars": Room(may=("sanitizer.progress", "sanitizer.terminal", "rich")),
    # What a scan says at its end; how it gets onto a screen is not known here.
    "sanitizer.ending": Room(may=("sanitizer.record", "pyarrow"), lazily=("sanitizer.baseline",), never=("rich",)),
    # A user like any other, except that it lives here: attacks come by name, out of the registry.
    "sanitizer.demo": Room(
        may=(*COMMON, "sanitizer.pipeline", "sanitizer.record", "sanitizer.registry", "sanitizer.sources"),
        lazily=("sklearn",),
        never=("sanitizer.attacks", "detectors"),
    ),
    "sanitizer.doctor": Room(may=("sanitizer.errors", "sanitizer.store"), lazily=("torch",)),
}  # fmt: skip
