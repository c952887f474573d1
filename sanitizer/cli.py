"""The command line: parses, calls, prints. No logic, and nothing heavy imported before it is needed."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from sanitizer import __version__, registry
from sanitizer.errors import SanitizerError
from sanitizer.progress import Advance

app = typer.Typer(
    help="Find the training samples that were planted to make a model misbehave, before you train on them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A verdict folder that `scan` wrote.")]
Source = Annotated[
    str, typer.Argument(metavar="SOURCE", help="A folder of images, or Parquet (a file, a glob, a folder).")
]
ImageColumn = Annotated[str | None, typer.Option(help="Parquet: the column that holds the images.")]
LabelColumn = Annotated[str | None, typer.Option(help="Parquet and metadata files: the column that holds the labels.")]


@app.command()
def scan(
    source: Source,
    to: Annotated[Path, typer.Option("--out", help="Where the verdict folder goes; outside the source.")],
    model: Annotated[
        str, typer.Option(help="What computes features: the probe, trained on the data itself.")
    ] = "probe",
    detectors: Annotated[str, typer.Option(help="Names separated by commas; auto = all of our own.")] = "auto",
    max_drop: Annotated[float, typer.Option(help="Never flag more than this share of the set.")] = 0.2,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda:N.")] = "auto",
    seed: Annotated[int, typer.Option(help="Same data and same seed, same verdict.")] = 0,
    budget: Annotated[str, typer.Option(help="fast, standard or thorough.")] = "standard",
) -> None:
    """Scan a set for planted samples. Exit code 0: none found, 1: found, 2: error or incomplete."""
    from sanitizer.pipeline import ScanSettings
    from sanitizer.pipeline import scan as run

    settings = ScanSettings(
        model=model, detectors=_names(detectors), max_drop=max_drop, image_column=image_column,
        label_column=label_column, device=device, seed=seed, budget=budget,  # type: ignore[arg-type]
    )  # fmt: skip
    with _progress() as progress:
        verdict = run(source, to, settings, progress)
    _show(verdict, to)
    raise typer.Exit(verdict.exit_code)


@app.command()
def verify(folder: Folder, source: Source, image_column: ImageColumn = None, label_column: LabelColumn = None) -> None:
    """Check that the data is still what was scanned. Exit code 0: it is, 1: it is not, 2: cannot tell."""
    from sanitizer.actions.verify import verify as compare
    from sanitizer.sources.base import open_source

    opened = open_source(source, image_column=image_column, label_column=label_column)
    differences = compare(folder, opened)
    for line in differences.lines():
        out.print(escape(line))
    if differences.ok:
        out.print("The data is what was scanned, and the verdict is what was written.")
    raise typer.Exit(0 if differences.ok else 1)


@app.command()
def report(folder: Folder) -> None:
    """Rebuild report.html from the verdict folder, without a new scan."""
    from sanitizer.actions.report import write_report
    from sanitizer.record import REPORT

    write_report(folder)
    out.print(escape(str(folder / REPORT)))


@app.command()
def poison(
    source: Source,
    destination: Annotated[
        Path, typer.Argument(metavar="DEST", help="A new folder: data/, truth.parquet, recipe.json.")
    ],
    attack: Annotated[str, typer.Option(help="See `sanitizer attacks`.")],
    rate: Annotated[float, typer.Option(help="Share of the whole set that is poisoned.")],
    target: Annotated[str | None, typer.Option(help="Class that the poison leads to, by name or index.")] = None,
    seed: Annotated[int, typer.Option(help="Which samples are chosen.")] = 0,
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

    kind = registry.attack(attack)
    extra = parse_settings(kind, settings or [], taken=("rate", "target", "seed"))
    opened = open_source(source, image_column=image_column, label_column=label_column)
    with _progress() as progress:
        made = kind(rate=rate, target=target, seed=seed, **extra).poison(opened, destination, progress)
    if preview:
        draw(made, preview, source=opened)
    counts = ", ".join(f"{count} {name}" for name, count in made.recipe["counts"].items())
    out.print(f"{attack}: {counts}")
    out.print(f"data:  {escape(str(made.data))}\ntruth: {escape(str(made.root / 'truth.parquet'))}")


@app.command()
def detectors() -> None:
    """List the detectors: ours, and those of installed plugins."""
    for name in registry.names(registry.DETECTORS):
        found = registry.detector(name)
        origin = registry.origin(registry.DETECTORS, name)
        stranger = "" if origin == registry.DISTRIBUTION else f" [plugin {origin}]"
        _listing(
            name + stranger,
            [
                ("finds", ", ".join(found.sees)),
                ("needs", ", ".join((*found.needs, *found.neighbors))),
                ("says", found.says),
            ],
        )


@app.command()
def attacks() -> None:
    """List the attacks: ours, and those of installed plugins."""
    for name in registry.names(registry.ATTACKS):
        kind = registry.attack(name)
        _listing(
            name,
            [
                ("does", kind.says),
                ("threat", kind.threat),
                ("labels", kind.label_kind),
                ("paper", kind.paper),
                ("cost", kind.cost),
            ],
        )


@app.command()
def doctor() -> None:
    """Say what this installation can use: torch, FAISS, devices, and what to install if something is missing."""
    from sanitizer.doctor import examine

    healthy = True
    for finding in examine():
        healthy &= finding.fine
        out.print(f"{'ok     ' if finding.fine else 'MISSING'}  {escape(finding.says)}")
        if finding.advice:
            out.print(f"         {escape(finding.advice)}")
    raise typer.Exit(0 if healthy else 2)


@app.command()
def demo(
    to: Annotated[Path, typer.Option("--out", help="Where the demo's files go.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Which samples are poisoned.")] = 0,
) -> None:
    """Poison a copy of scikit-learn's digits, scan it, and compare what was found with the truth."""
    from sanitizer.demo import run_demo

    with _progress() as progress:
        outcome = run_demo(to, seed=seed, progress=progress)
    _show(outcome.verdict, outcome.folder)
    out.print(
        f"Truth: {outcome.poisoned} of {outcome.samples} samples were poisoned ({outcome.attack}); "
        f"{outcome.found} of them were flagged, and {outcome.false_alarms} clean ones."
    )


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log what happens to stderr.")] = False,
) -> None:
    if version:
        out.print(f"sanitizer {__version__}")
        raise typer.Exit
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(name)s: %(message)s")


def main() -> None:
    """Run the command line; whatever goes wrong is one line on stderr and exit code 2."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # unwinds, so nothing half-written stays
    try:
        code = app(standalone_mode=False)
    except SanitizerError as error:
        code = _fail(str(error))
    except typer.Abort:
        code = 130
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - the reader left: nothing more can be said
        code = 2
    except Exception as error:  # a crash must never look like a finding
        usage = getattr(error, "format_message", None)  # typer's own complaints about arguments have one
        code = _fail(usage() if usage else f"unexpected {type(error).__name__}: {error}; please report this")
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str) -> int:
    err.print(f"sanitizer: {escape(' '.join(message.split()))}")
    return 2


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _listing(name: str, facts: list[tuple[str, str]]) -> None:
    out.print(f"[bold]{escape(name)}[/bold]")
    for key, value in facts:
        if value:
            out.print(f"  {key:<7}{escape(value)}")


def _show(verdict: Any, folder: Path) -> None:
    """The answer, the counts, the classes that hide something, the worst samples, where to look next."""
    from sanitizer.record import REPORT

    colour = {0: "green", 1: "red", 2: "yellow"}[verdict.exit_code]
    out.print(f"[bold {colour}]{escape(verdict.summary['answer']['sentence'])}[/]")
    out.print(", ".join(f"{count:,} {status}" for status, count in verdict.counts.items()))
    for entry in verdict.summary["classes"]:
        if entry["reason"]:
            out.print(f"  class {escape(_plain(entry['name']))}: {escape(_plain(entry['reason']))}")
    for line in (*verdict.incomplete, *verdict.summary["notes"]):
        out.print(f"  [yellow]{escape(line)}[/]")
    for row in verdict.suspicious().slice(0, 3).to_pylist():
        out.print(f"  {escape(_plain(row['id']))}  {escape(row['reasons'][0])}")
    out.print(f"Report: {escape(str(folder / REPORT))}")


def _plain(text: str) -> str:
    """Names come from the data: control characters must not reach the terminal."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


@contextlib.contextmanager
def _progress() -> Iterator[Any]:
    """Bars with rate and time left on a terminal, silence elsewhere."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, disable=not err.is_terminal) as bars:
        yield _Bars(bars)


class _Bars:
    """Shows every stage as a bar."""

    def __init__(self, bars: Any) -> None:
        self._bars = bars

    @contextlib.contextmanager
    def stage(self, name: str, total: int | None) -> Iterator[Advance]:
        task = self._bars.add_task(name, total=total)
        yield lambda count: self._bars.advance(task, count)
        done = self._bars.tasks[task].completed or 1
        self._bars.update(task, total=done, completed=done)
