"""What becomes of what was flagged: copies without it, quarantine and back, purification, explanations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sanitizer.bars import bars
from sanitizer.options import Folder, ImageColumn, LabelColumn, Source, names_of
from sanitizer.terminal import say

Copy = Annotated[Path, typer.Option("--to", metavar="DEST", help="A new folder for the copy; outside the source.")]
Kinds = Annotated[str, typer.Option(help="What to drop: planted, label, or both, separated by commas.")]


def add_to(app: typer.Typer) -> None:
    """Make these commands part of the command line."""
    for command in (apply, purify, quarantine, restore, explain):
        app.command()(command)


def apply(
    folder: Folder,
    source: Source,
    to: Copy,
    kinds: Kinds = "planted,label",
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
) -> None:
    """Write a copy without what was flagged, in the layout of its source. The source stays as it is."""
    from sanitizer.actions.apply import apply as copy
    from sanitizer.sources.base import open_source

    opened = open_source(source, image_column=image_column, label_column=label_column)
    with bars() as progress:
        applied = copy(folder, opened, to, kinds=names_of(kinds), progress=progress)
    for line in applied.lines():
        say(line)
    say(f"Copy: {to}")


def purify(
    source: Source,
    to: Copy,
    quality: Annotated[int, typer.Option(help="JPEG quality, 1 (coarse) to 100 (fine).")] = 75,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
) -> None:
    """Write a copy with every image as JPEG: that blunts optimised perturbations. It removes no sample."""
    from sanitizer.actions.purify import BUYS
    from sanitizer.actions.purify import purify as copy
    from sanitizer.sources.base import open_source

    opened = open_source(source, image_column=image_column, label_column=label_column)
    with bars() as progress:
        purified = copy(opened, to, quality, progress)
    for line in (*purified.lines(), f"Copy: {to}", BUYS):
        say(line)


def quarantine(
    folder: Folder,
    source: Source,
    to: Annotated[Path, typer.Option("--to", metavar="Q", help="A new folder for what is moved; outside the source.")],
    kinds: Kinds = "planted,label",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be moved, and touch nothing.")] = False,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
) -> None:
    """Move what was flagged out of a folder, so that `restore` can put it back. Killed half-way, it can go on."""
    from sanitizer.actions.quarantine import quarantine as move
    from sanitizer.sources.base import open_source

    opened = open_source(source, image_column=image_column, label_column=label_column)
    done = move(folder, opened, to, kinds=names_of(kinds), dry_run=dry_run)
    for name in done.moved if dry_run else ():
        say(name)
    if done.before:
        say(f"{len(done.before):,} in {to} already")
    say(f"{len(done.moved):,} {'to be moved' if dry_run else 'moved'} to {to}")
    for name in done.named_in if done.moved else ():
        say(f"{name} still names them: whoever reads it misses the files; `sanitizer apply` writes a copy that fits")
    if done.moved and not dry_run:
        say(f"Back: sanitizer restore {to}")


def restore(
    to: Annotated[Path, typer.Argument(metavar="Q", help="A folder that `quarantine` wrote.")],
) -> None:
    """Put everything in quarantine back. Exit code 2 if something could not go back; it stays in Q, and is named."""
    from sanitizer.actions.quarantine import restore as put_back

    done = put_back(to)
    say(f"{len(done.back):,} back in place")
    for name, why in done.left:
        say(f"  left: {name}: {why}")
    if not done.removed:
        say(f"{to} stays: {'what is left in it' if done.left else 'it holds what is not ours'}")
    raise typer.Exit(2 if done.left else 0)


def explain(
    folder: Folder,
    id: Annotated[str, typer.Argument(metavar="ID", help="An id, a unique end of one, or 6 digits of its sha256.")],
    image: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Also draw it: the sample, its neighbours, its ranks.")
    ] = None,
) -> None:
    """Say why a sample was flagged, or was not: scores, ranks, reasons, neighbours."""
    from sanitizer.actions.explain import explain as lines_about

    lines = lines_about(folder, id)
    if image is not None:
        from sanitizer.actions.drawing import draw

        draw(folder, id, image)
        lines.append(f"Picture: {image}")
    for line in lines:
        say(line)
