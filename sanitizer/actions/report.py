"""The report: one HTML file without network, built from a verdict folder alone, that can be read without its script."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from pathlib import Path

import jinja2
import pyarrow as pa
from markupsafe import Markup

from sanitizer.actions.page.context import context
from sanitizer.actions.page.dynamics import curve
from sanitizer.actions.page.exhibits import read_exhibits
from sanitizer.actions.page.words import brief, flat, number, shown
from sanitizer.errors import VerdictError
from sanitizer.record import REPORT, Verdict
from sanitizer.writing import write_whole

#: The page's words are also those of other pages.
__all__ = ["brief", "number", "render_report", "shown", "write_report"]

PAGE = "sanitizer.actions.page"


def write_report(folder: Path) -> None:
    """Put ``report.html`` into a verdict folder."""
    write_whole(folder / REPORT, render_report(folder))


def render_report(folder: Path) -> bytes:
    """The page for the verdict in ``folder``; equal folders give equal bytes."""
    verdict, exhibits = Verdict.read(folder), read_exhibits(folder)
    try:
        page = _template().render(context(verdict, exhibits))
    except (jinja2.TemplateError, AttributeError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        came = f"{type(error).__name__}: {error}".splitlines()[0]
        raise VerdictError(f"expected a verdict of `sanitizer scan` at {folder}; got {came}; scan again") from None
    return page.encode()


@cache
def _template() -> jinja2.Template:
    # Autoescaping is for all templates, whatever their name; ``finalize`` sees every expression, so that no name can
    # reach the page without being ``shown``.
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(PAGE, "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: value if isinstance(value, Markup) else shown(value),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = (resources.files(PAGE).joinpath(f"report.{kind}").read_text("utf-8") for kind in ("css", "js"))
    environment.filters |= {"brief": brief, "number": number, "curve": curve, "flat": flat}
    environment.globals |= {"style": Markup(style), "script": Markup(script), "policy": _policy(style, script)}
    return environment.get_template("report.html.jinja")


def _policy(style: str, script: str) -> Markup:
    """What the page forbids itself: everything but this very style, this very script and the pictures inside it."""
    return Markup(
        f"default-src 'none'; img-src data:; style-src {_hash_of(style)}; script-src {_hash_of(script)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash_of(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
