"""What becomes of what was flagged: copies without it, quarantine and back, purification, explanations."""

from __future__ import annotations

import typer


def add_to(app: typer.Typer) -> None:
    """Make these commands part of the command line."""
