"""Arguments and options that several commands share, and how their text is read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A verdict folder that `scan` wrote.")]
Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="A folder of images, Parquet (a file, a glob, a folder), a saved dataset, tar shards, or vectors (.npz).",
    ),
]
ImageColumn = Annotated[str | None, typer.Option(help="The column that holds the images, or the vectors.")]
LabelColumn = Annotated[str | None, typer.Option(help="The column that holds the labels.")]
Model = Annotated[
    str,
    typer.Option(
        metavar="probe|torchvision:NAME|timm:NAME|FILE.safetensors",
        help="What computes features: the probe, trained on the data itself, or a frozen network.",
    ),
]
Reference = Annotated[
    str | None, typer.Option(metavar="NAME|FILE", help="A frozen network beside the model, to judge labels by.")
]
Detectors = Annotated[str, typer.Option(help="Names separated by commas; auto = all of our own.")]
Trusted = Annotated[
    str | None, typer.Option(metavar="SOURCE", help="Samples known to be clean, drawn like those to be scanned.")
]
Fdr = Annotated[
    float | None, typer.Option(help="With --trusted: the chance of any flag on clean data; 0.05 if not named.")
]
MaxDrop = Annotated[float, typer.Option(help="Never flag more than this share of the set.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda:N.")]
Seed = Annotated[int, typer.Option(help="Same data and same seed, same verdict.")]
Budget = Annotated[str, typer.Option(help="fast, standard or thorough.")]
Runs = Annotated[
    str,
    typer.Option(
        "--engine",
        metavar="local|ray",
        help="Where it runs: on this machine, or on the Ray cluster of $RAY_ADDRESS (extra: ray).",
    ),
]
Decoding = Annotated[
    str,
    typer.Option(
        metavar="exact|scaled",
        help="scaled: decode large JPEGs at 1/2, 1/4 or 1/8 of their size; faster, of slightly other pixels.",
    ),
]
Kept = Annotated[
    str | None,
    typer.Option(metavar="DIR|none", help="What was computed before is kept here; by default in your cache folder."),
]


def names_of(text: str) -> tuple[str, ...]:
    """What is separated by commas.

    >>> names_of("lof, dao,")
    ('lof', 'dao')
    """
    return tuple(name.strip() for name in text.split(",") if name.strip())
