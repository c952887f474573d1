"""What a matrix says, for people: ``results.md``, and ``index.html`` with its plots, without scripts or network."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from sanitizer.actions.report import shown
from sanitizer.evaluation.charts import Chart, charts
from sanitizer.evaluation.matrix import Task, read_results
from sanitizer.evaluation.tables import Table, overview, tables
from sanitizer.writing import write_whole

MARKDOWN = "results.md"
PAGE = "index.html"
#: Shades of a heat map.
SHADES = 10
_SPECIAL = re.compile(r"[\\`*_{}\[\]<>|#~&]")


def write_pages(out: Path, task: Task) -> list[Table]:
    """Both pages, from every result in ``out`` that this task would have measured alike; and what they say in short."""
    known = read_results(out)
    results = [result for result in known.values() if result["context"] == task.context]
    made = tables(results)
    facts = {"Source": task.source.uri, "The scans were given": task.given, "Settings": task.context}
    if others := len(known) - len(results):
        facts["Not shown"] = f"{others} cells of other settings, data or versions, which are in results.json"
    write_whole(out / MARKDOWN, markdown(made, facts).encode())
    write_whole(out / PAGE, page(made, facts, charts(results)).encode())
    return overview(results)


def markdown(made: Sequence[Table], facts: dict[str, str]) -> str:
    """The tables as Markdown; text from outside is text, whatever it says."""
    parts = ["# Evaluation\n", "".join(f"- {name}: {literal(said)}\n" for name, said in facts.items())]
    for table in made:
        lines = [_row(table.columns), _row(["---"] * len(table.columns), plain=True)]
        lines += [_row([name, *(entry.full for entry in entries)]) for name, entries in table.rows]
        parts.append(f"## {table.title}\n\n{table.says}\n\n{''.join(lines)}")
    return "\n".join(parts)


def literal(text: object) -> str:
    r"""Text that no reader of Markdown takes for anything else.

    >>> print(literal("a|b_c"))
    a\|b\_c
    """
    return _SPECIAL.sub(r"\\\g<0>", shown(text))


def page(made: Sequence[Table], facts: dict[str, str], drawn: Sequence[Chart] = ()) -> str:
    """Tables and plots as one HTML file; entries that have a heat are coloured, and always say their number."""
    return _template().render(tables=made, facts=facts, charts=drawn)


def shade(heat: float | None) -> Any:
    """The class of a coloured field; nothing for one without colour.

    >>> shade(1.0), shade(0.0), shade(None)
    (Markup(' class="heat h10"'), Markup(' class="heat h0"'), Markup(''))
    """
    if heat is None:
        return Markup("")
    return Markup(' class="heat h{}"').format(round(min(1.0, max(0.0, heat)) * SHADES))


def _row(texts: Sequence[str], *, plain: bool = False) -> str:
    return "| " + " | ".join(text if plain else literal(text) for text in texts) + " |\n"


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("sanitizer.evaluation", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: value if isinstance(value, Markup) else shown(value),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shade"] = shade
    return environment.get_template("index.html.jinja")
