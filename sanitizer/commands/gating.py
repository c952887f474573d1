"""The gate: whether training may start."""

from __future__ import annotations

import typer


def add_to(app: typer.Typer) -> None:
    """Make these commands part of the command line."""
