"""The gate: whether training may start; and the signature that it can ask a verdict for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sanitizer.bars import bars
from sanitizer.errors import UsageError
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
from sanitizer.terminal import say

if TYPE_CHECKING:
    from sanitizer.outcome import Outcome
    from sanitizer.policy import Policy

#: What belongs to a scan, and to no verdict that is there already.
_OF_A_SCAN = (
    "out", "model", "reference", "detectors", "trusted", "fdr", "max_drop", "image_column", "label_column", "device",
    "seed", "budget", "store", "engine", "decoding",
)  # fmt: skip


def add_to(app: typer.Typer) -> None:
    """Make these commands part of the command line."""
    for command in (gate, sign):
        app.command()(command)


def gate(
    context: typer.Context,
    source: Source,
    policy: Annotated[Path, typer.Option(metavar="FILE.toml", help="What is let through: a table [gate].")],
    verdict: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A verdict of an earlier scan: check that it still holds.")
    ] = None,
    signed_by: Annotated[
        Path | None,
        typer.Option(metavar="PUBLIC.pem", help="With --verdict: whose signature it needs; in place of the policy's."),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where the verdict of this scan goes.")] = None,
    sarif: Annotated[Path | None, typer.Option(metavar="FILE", help="Write findings for code scanning.")] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the checks as a test run.")] = None,
    summary: Annotated[Path | None, typer.Option(metavar="FILE", help="Append one screen of Markdown.")] = None,
    to_json: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the outcome.")] = None,
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
) -> None:
    """Refuse to train: scan, or check an earlier verdict, and hold it against a policy.

    Exit code 0: within the policy, 1: above it, 2: error, incomplete, or data and verdict are not as they were.
    """
    from sanitizer.gate import gate as run
    from sanitizer.policy import Policy

    settings = None
    if verdict is not None:
        _expect_no_scan(context)
    elif signed_by is not None:
        raise UsageError("--signed-by: expected a verdict that somebody signed, got none: name it with --verdict")
    else:
        from sanitizer.pipeline import ScanSettings

        settings = ScanSettings(
            model=model, reference=reference, detectors=names_of(detectors), trusted=trusted, fdr=fdr,
            max_drop=max_drop, image_column=image_column, label_column=label_column, device=device, seed=seed,
            budget=budget, store=store, engine=engine, decoding=decoding,  # type: ignore[arg-type]
        )  # fmt: skip
    asked = {"sarif": sarif, "junit": junit, "summary": summary, "json": to_json}
    outputs = {name: path for name, path in asked.items() if path is not None}
    for name, path in outputs.items():
        _expect_place(name, path, outputs, source=Path(source), files=(policy, signed_by), verdicts=(verdict, out))
    held = Policy.read(policy)
    if signed_by is not None:
        held = replace(held, signed_by=signed_by)
    try:
        with bars() as progress:
            outcome = run(source, held, verdict=verdict, settings=settings, out=out, progress=progress)
    except Exception as error:  # the files of an earlier run must not stay and look like the answer to this one
        _write(_broken(held, error), outputs, source)
        raise
    _write(outcome, outputs, source)
    _show(outcome, outputs | ({"verdict": out} if out else {}))
    raise typer.Exit(outcome.code)


def sign(
    folder: Folder,
    private_key: Annotated[
        Path, typer.Option(metavar="KEY.pem", help="An elliptic-curve key (P-256, P-384, P-521), without a password.")
    ],
) -> None:
    """Sign the manifest of a verdict, so that a gate can tell whose it is: writes manifest.sig into the folder."""
    from sanitizer.actions.signing import sign as run

    say(f"Signed: {run(folder, private_key)}")
    say("Checked by: sanitizer gate SOURCE --policy FILE.toml --verdict DIR --signed-by PUBLIC.pem")


def _expect_no_scan(context: typer.Context) -> None:
    for name in _OF_A_SCAN:
        given = context.get_parameter_source(name)
        if given is not None and given.name == "COMMANDLINE":
            flag = f"--{name.replace('_', '-')}"
            raise UsageError(f"{flag}: expected nothing of a scan beside --verdict, got {flag}: leave out one of them")


def _expect_place(
    name: str,
    path: Path,
    outputs: Mapping[str, Path],
    *,
    source: Path,
    files: tuple[Path | None, ...],
    verdicts: tuple[Path | None, ...],
) -> None:
    """Said before the scan, not after it: a file that can be written and destroys nothing."""
    from sanitizer.writing import refuse_inside

    if path.is_dir() or not path.parent.is_dir():
        raise UsageError(f"--{name}: expected a file in a folder that exists, got {str(path)!r}: choose another path")
    others = [source, *filter(None, files), *(place for other, place in outputs.items() if other != name)]
    if path.resolve() in [other.resolve() for other in others]:
        raise UsageError(f"--{name}: expected a file of its own, {str(path)!r} is taken: choose another path")
    for folder in verdicts:
        if folder and path.resolve().is_relative_to(folder.resolve()):
            raise UsageError(
                f"--{name}: {str(path)!r} lies inside a verdict folder, where it is foreign: choose another"
            )
    refuse_inside(path, source if source.is_dir() else None)


def _broken(policy: Policy, error: Exception) -> Outcome:
    from sanitizer.outcome import Check, Outcome

    return Outcome(policy, (Check("gate", False, f"The gate could not be run: {type(error).__name__}: {error}"),))


def _write(outcome: Outcome, outputs: Mapping[str, Path], source: str) -> None:
    """Every output that was asked for, whatever the answer is."""
    from sanitizer.actions.junit import build_junit
    from sanitizer.actions.markdown import append_markdown
    from sanitizer.actions.sarif import build_sarif
    from sanitizer.writing import write_whole

    builders: dict[str, Callable[[Outcome], bytes]] = {"json": _as_json, "junit": build_junit}
    builders["sarif"] = partial(build_sarif, base=_from_here(Path(source)))
    for name, path in outputs.items():
        if name in builders:
            write_whole(path, builders[name](outcome))
        else:
            append_markdown(outcome, path)


def _from_here(source: Path) -> str:
    """The folder that a source lies in, from the working folder; empty where it lies elsewhere."""
    folder, here = (source if source.is_dir() else source.parent).resolve(), Path.cwd().resolve()
    return folder.relative_to(here).as_posix() if folder.is_relative_to(here) else ""


def _as_json(outcome: Outcome) -> bytes:
    return (json.dumps(outcome.as_dict(), indent=1) + "\n").encode()


def _show(outcome: Outcome, outputs: Mapping[str, Path]) -> None:
    """The answer, every check that did not pass, where to look next."""
    say(outcome.answer, style=f"bold {('green', 'red', 'yellow')[outcome.code]}")
    if outcome.counts:
        say(", ".join(f"{count:,} {status}" for status, count in outcome.counts.items()))
    if outcome.known:
        say(f"{outcome.known:,} flagged samples are known to the baseline.")
    for check in outcome.failed:
        say(f"  {check.name}: {check.said}")
    for name, path in outputs.items():
        say(f"{name}: {path}")
