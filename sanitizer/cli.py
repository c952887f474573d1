"""The command line: parses, calls, prints. No logic, and nothing heavy imported before it is needed."""

from __future__ import annotations

import json
import logging
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sanitizer import __version__, registry
from sanitizer.bars import bars, silence
from sanitizer.commands import gating, handling
from sanitizer.errors import SanitizerError, UsageError
from sanitizer.options import (
    Budget,
    Decoding,
    Detectors,
    Device,
    Fdr,
    Folder,
    ImageColumn,
    Kept,
    LabelColumn,
    MaxDrop,
    Model,
    Reference,
    Runs,
    Seed,
    Source,
    Trusted,
    names_of,
)
from sanitizer.terminal import err, say, shortened, show_table, tell

if TYPE_CHECKING:
    from sanitizer.baseline import Baseline
    from sanitizer.pipeline import ScanSettings
    from sanitizer.record import Verdict

app = typer.Typer(
    help="Find the training samples that were planted to make a model misbehave, before you train on them.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

handling.add_to(app)
gating.add_to(app)

#: Letters of a class's name in a table of few lines.
LONGEST_NAME = 60
VICTIM = "convnet[:WIDTH]|resnet18|frozen:NETWORK|tuned:NETWORK"


@app.command()
def scan(
    source: Source,
    to: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where the verdict folder goes; outside the source.")
    ] = None,
    model: Model = "probe",
    reference: Reference = None,
    detectors: Detectors = "auto",
    trusted: Trusted = None,
    fdr: Fdr = None,
    max_drop: MaxDrop = 0.2,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    device: Device = "auto",
    seed: Seed = 0,
    budget: Budget = "standard",
    store: Kept = None,
    engine: Runs = "local",
    decoding: Decoding = "exact",
    baseline: Annotated[
        Path | None, typer.Option(metavar="DIR", help="An earlier verdict folder: report only what is new since then.")
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what the scan will need (time, memory, disk) and do not start it.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Say nothing but errors, and what --json asks for; the exit code tells.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as one JSON object.")] = False,
) -> None:
    """Scan a set for planted samples. Exit code 0: none found, 1: found, 2: error or incomplete."""
    from sanitizer.baseline import Baseline
    from sanitizer.pipeline import ScanSettings
    from sanitizer.pipeline import scan as run

    if to is None and not plan:
        raise UsageError("--out: expected a folder for the verdict, got none: name one, or ask with --plan")
    if plan and (quiet or as_json):
        raise UsageError("--plan: expected neither --quiet nor --json beside it, it is for people: leave out one")
    if plan and engine != "local":
        raise UsageError(f"--plan: expected --engine local, whose machine it can time, got {engine!r}: leave out one")
    if plan and decoding != "exact":
        raise UsageError(f"--plan: expected --decoding exact, which it can time, got {decoding!r}: leave out one")
    settings = ScanSettings(
        model=model, reference=reference, detectors=names_of(detectors), trusted=trusted, fdr=fdr, max_drop=max_drop,
        image_column=image_column, label_column=label_column, device=device, seed=seed,
        budget=budget, store=store, engine=engine, decoding=decoding,  # type: ignore[arg-type]
    )  # fmt: skip
    if plan:
        _show_plan(source, settings, to)
        return
    assert to is not None
    earlier = Baseline.read(baseline) if baseline else None  # before the scan: it may take the same folder
    with silence() if quiet else bars() as progress:
        verdict = run(source, to, settings, progress)
    if as_json:
        _print_json(verdict, to, earlier)
    elif not quiet:
        _show(verdict, to, _again(source, image_column, label_column), earlier)
    raise typer.Exit(earlier.exit_code(verdict) if earlier else verdict.exit_code)


@app.command()
def verify(folder: Folder, source: Source, image_column: ImageColumn = None, label_column: LabelColumn = None) -> None:
    """Check that the data is still what was scanned. Exit code 0: it is, 1: it is not, 2: cannot tell."""
    from sanitizer.actions.verify import verify as compare
    from sanitizer.sources.base import open_source

    opened = open_source(source, image_column=image_column, label_column=label_column)
    differences = compare(folder, opened)
    for line in differences.lines():
        say(line)
    if differences.ok:
        say("The data is what was scanned, and the verdict is what was written.")
    raise typer.Exit(0 if differences.ok else 1)


@app.command()
def report(folder: Folder) -> None:
    """Rebuild report.html from the verdict folder, without a new scan."""
    from sanitizer.actions.report import write_report
    from sanitizer.record import REPORT

    write_report(folder)
    say(str(folder / REPORT))


@app.command()
def poison(
    source: Source,
    destination: Annotated[
        Path, typer.Argument(metavar="DEST", help="A new folder: data/, truth.parquet, recipe.json.")
    ],
    attack: Annotated[str, typer.Option(help="See `sanitizer attacks`.")],
    rate: Annotated[
        float | None, typer.Option(help="Share of the set that is poisoned; the attack's own default if left out.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="Class that the poison leads to, by name or index.")] = None,
    seed: Annotated[int, typer.Option(help="Which samples are chosen.")] = 0,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda:N", help="Where attacks compute gradients.")] = "auto",
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the attack.")
    ] = None,
    preview: Annotated[
        Path | None, typer.Option(help="Write a PNG that shows clean and poisoned side by side.")
    ] = None,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
) -> None:
    """Write a poisoned copy of a set, with its ground truth, to test detectors on."""
    from sanitizer.attacks.preview import preview as draw
    from sanitizer.attacks.settings import parse_settings
    from sanitizer.sources.base import open_source
    from sanitizer.store import Store

    kind = registry.attack(attack)
    extra = parse_settings(kind, settings or [], taken=("rate", "target", "seed"))
    if rate is not None:
        extra["rate"] = rate
    opened = open_source(source, image_column=image_column, label_column=label_column)
    chosen = kind(target=target, seed=seed, **extra)
    with bars() as progress:
        kept = Store.open(outside=(opened.root, destination))
        made = chosen.poison(opened, destination, progress, device=device, store=kept)
    if preview:
        draw(made, preview, source=opened)
    counts = ", ".join(f"{count} {name}" for name, count in made.recipe["counts"].items())
    say(f"{attack}: {counts}")
    say(f"data:  {made.data}")
    say(f"truth: {made.root / 'truth.parquet'}")


@app.command()
def measure(
    sets: Annotated[
        list[Path],
        typer.Argument(metavar="DEST...", help="Folders that `poison` wrote: one attack, other seeds or targets."),
    ],
    test: Annotated[
        str, typer.Option(metavar="SOURCE", help="Labelled images of the same classes that are not in the set.")
    ],
    victim: Annotated[str, typer.Option(metavar=VICTIM, help="What is trained on it.")] = "convnet",
    runs: Annotated[int, typer.Option(help="Victims for each set, each from another seed.")] = 1,
    epochs: Annotated[int | None, typer.Option(help="Passes over the data; as the budget says if left out.")] = None,
    budget: Annotated[str, typer.Option(help="fast, standard or thorough: image size and epochs.")] = "standard",
    control: Annotated[bool, typer.Option(help="Train on the unpoisoned set as well.")] = True,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda:N", help="Where to train.")] = "auto",
    to: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Also write every figure as JSON.")] = None,
) -> None:
    """Does the poison work? Train victims on a poisoned set as it was written, and see what they say."""
    from sanitizer.attacks.poisoned import PoisonedSet
    from sanitizer.evaluation.success import Victim, lines, measure_all, write
    from sanitizer.sources.base import open_source

    trained = Victim(kind=victim, budget=budget, epochs=epochs, device=device)
    with bars() as progress:
        found = measure_all(
            [PoisonedSet.open(folder) for folder in sets], open_source(test), trained,
            runs=runs, control=control, progress=progress,
        )  # fmt: skip
    for line in lines(found):
        say(line)
    if to:
        write(found, to)


@app.command()
def evaluate(
    source: Source,
    to: Annotated[Path, typer.Option("--out", metavar="DIR", help="results.json, results.md, index.html; resumable.")],
    attacks: Annotated[str, typer.Option(help="Names separated by commas; see `sanitizer attacks`.")],
    rates: Annotated[str, typer.Option(help="Shares, separated by commas; each attack's own if left out.")] = "",
    seeds: Annotated[int, typer.Option(help="How many: of the attack and of the scan.")] = 1,
    target: Annotated[str | None, typer.Option(help="Class that the poison leads to, by name or index.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="[ATTACK.]KEY=VALUE", help="A setting of one attack, or all.")
    ] = None,
    clean: Annotated[bool, typer.Option("--clean/--no-clean", help="Also scan copies with nothing planted.")] = True,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the poisoned sets, in DIR/sets.")] = False,
    model: Model = "probe",
    reference: Reference = None,
    detectors: Detectors = "auto",
    trusted: Trusted = None,
    fdr: Fdr = None,
    max_drop: MaxDrop = 0.2,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    device: Device = "auto",
    budget: Budget = "standard",
    store: Kept = None,
    retrain: Annotated[
        bool, typer.Option("--retrain", help="Also train victims with and without what was flagged.")
    ] = False,
    tests: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="With --retrain: labelled images that nobody trains on.")
    ] = None,
    victim: Annotated[str, typer.Option(metavar=VICTIM, help="With --retrain: what is trained.")] = "convnet",
    epochs: Annotated[int | None, typer.Option(help="With --retrain: as the budget says if left out.")] = None,
    runs: Annotated[int, typer.Option(help="With --retrain: victims of each kind, each from another seed.")] = 3,
) -> None:
    """Poison a set in many ways, scan each as a user would, compare with the truth. Exit code 0: all was measured."""
    from sanitizer.evaluation.cells import plan_cells
    from sanitizer.evaluation.matrix import Task
    from sanitizer.evaluation.matrix import evaluate as run
    from sanitizer.evaluation.pages import PAGE, write_pages
    from sanitizer.evaluation.retraining import retraining
    from sanitizer.pipeline import ScanSettings
    from sanitizer.sources.base import open_source

    scanned = ScanSettings(
        model=model, reference=reference, detectors=names_of(detectors), trusted=trusted, fdr=fdr, max_drop=max_drop,
        image_column=image_column, label_column=label_column, device=device,
        budget=budget, store=store,  # type: ignore[arg-type]
    )  # fmt: skip
    opened = open_source(source, image_column=image_column, label_column=label_column)
    cells = plan_cells(
        opened, names_of(attacks), rates=_shares(rates), seeds=seeds, target=target, pairs=settings or [], clean=clean
    )
    how = retraining(tests, victim=victim, epochs=epochs, runs=runs, scan=scanned) if retrain else None
    task = Task(source=opened, scan=scanned, retraining=how, keep=keep)
    with bars() as progress:
        results = run(cells, task, to, progress)
    for table in write_pages(to, task):
        show_table(table.title, table.columns, [[name, *(one.text for one in found)] for name, found in table.rows])
    say(f"Page: {to / PAGE}")
    raise typer.Exit(2 if any("failed" in result for result in results) else 0)


@app.command()
def detectors() -> None:
    """List the detectors: ours, and those of installed plugins."""
    for name in registry.names(registry.DETECTORS):
        found = registry.detector(name)
        origin = registry.origin(registry.DETECTORS, name)
        stranger = "" if origin == registry.DISTRIBUTION else f" [plugin {origin}]"
        needs = ", ".join((*found.needs, *found.neighbors))
        _listing(name + stranger, {"finds": ", ".join(found.sees), "needs": needs, "says": found.says})


@app.command()
def attacks() -> None:
    """List the attacks: ours, and those of installed plugins."""
    for name in registry.names(registry.ATTACKS):
        kind = registry.attack(name)
        facts = {"does": kind.says, "threat": kind.threat, "labels": kind.label_kind, "paper": kind.paper}
        needs = ", ".join(("labelled images", *kind.needs))
        _listing(name, facts | {"rate": f"{kind().rate:g} of the set by default", "needs": needs, "cost": kind.cost})


@app.command()
def doctor() -> None:
    """Say what this installation can use: torch, FAISS, devices, and what to install if something is missing."""
    from sanitizer.doctor import examine

    healthy = True
    for finding in examine():
        healthy &= finding.fine
        say(f"{'ok     ' if finding.fine else 'MISSING'}  {finding.says}")
        if finding.advice:
            say(f"         {finding.advice}")
    raise typer.Exit(0 if healthy else 2)


@app.command()
def demo(
    to: Annotated[Path, typer.Option("--out", help="Where the demo's files go.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Which samples are poisoned.")] = 0,
) -> None:
    """Poison a copy of scikit-learn's digits, scan it, and compare what was found with the truth."""
    from sanitizer.demo import run_demo

    with bars() as progress:
        outcome = run_demo(to, seed=seed, progress=progress)
    _show(outcome.verdict, outcome.folder, _again(str(outcome.data)))
    tell(
        f"Truth: {outcome.poisoned} of {outcome.samples} samples were poisoned ({outcome.attack}); "
        f"{outcome.found} of them were flagged, and {outcome.false_alarms} clean ones."
    )


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log what happens to stderr.")] = False,
) -> None:
    if version:
        say(f"sanitizer {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(2)
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(name)s: %(message)s")


def main() -> None:
    """Run the command line; whatever goes wrong is one line on stderr and exit code 2."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # under nohup a hangup is to be ignored
            signal.signal(number, _end)
    try:
        code = app(standalone_mode=False)
    except SanitizerError as error:
        code = _fail(str(error))
    except (typer.Abort, KeyboardInterrupt):
        code = 130
    except SystemExit as end:  # typer ends with 1 where the reader of its help leaves: 1 would be a finding
        code = 2 if end.code == 1 else end.code
    except Exception as error:  # a crash must never look like a finding
        usage = getattr(error, "format_message", None)  # typer's own complaints about arguments have one
        code = _fail(usage() if usage else f"unexpected {type(error).__name__}: {error}; please report this")
    sys.exit(code if isinstance(code, int) else 0)


def _end(number: int, _: object) -> None:
    """Unwind, so that nothing half-written stays; once, for a second signal must not interrupt that."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def _fail(message: str) -> int:
    say(f"sanitizer: {' '.join(message.split())}", to=err)
    return 2


def _shares(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(share) for share in names_of(text))
    except ValueError:
        raise UsageError(f"--rates: expected shares separated by commas, got {text!r}: try 0.01,0.003") from None


def _listing(name: str, facts: dict[str, str]) -> None:
    say(name, style="bold")
    for key, value in facts.items():
        if value:
            say(f"  {key:<7}{value}")


def _show_plan(source: str, settings: ScanSettings, to: Path | None) -> None:
    from sanitizer.plan import plan_scan

    with bars() as progress:
        found = plan_scan(source, settings, to, progress)
    for line in found.lines():
        say(line)


def _again(source: str, image_column: str | None = None, label_column: str | None = None) -> list[str]:
    """The words that name a source to another command."""
    columns = {"--image-column": image_column, "--label-column": label_column}
    return [source, *(word for option, name in columns.items() if name for word in (option, name))]


def _show(verdict: Verdict, folder: Path, source: list[str], earlier: Baseline | None = None) -> None:
    from sanitizer.ending import COLUMNS, ending

    ended = ending(verdict, folder, source, earlier)
    for line in ended.before:
        tell(line.text, style=line.style)
    if ended.classes:
        rows = [[shortened(name, LONGEST_NAME), *figures] for name, *figures in ended.classes]
        show_table("", COLUMNS, rows, figures=True)
    for line in ended.after:
        (say if line.copied else tell)(line.text, style=line.style)


def _print_json(verdict: Verdict, folder: Path, earlier: Baseline | None) -> None:
    from sanitizer.ending import as_object

    say(json.dumps(as_object(verdict, folder, earlier)))


if __name__ == "__main__":
    main()
