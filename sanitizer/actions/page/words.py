"""Text and numbers from outside, as a reader may see them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping

MAX_NAME, MAX_REASON, MAX_TEXT = 120, 240, 1000  # characters of one name, of one reason, of anything else
MAX_SETTINGS = 200

# Controls, bidirectional marks and overrides, line separators, invisible and unpaired characters: none of them may
# act in the page, and the reader should see that they are there.
_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)


def shown(value: object) -> str:
    r"""Text from outside as a reader may see it: nothing invisible, nothing that reorders, no endless names.

    >>> print(shown("a\u202egnp.exe"))
    a\u202egnp.exe
    """
    return _INVISIBLE.sub(lambda match: match[0].encode("unicode_escape").decode(), brief(value, MAX_TEXT))


def brief(value: object, most: int = MAX_NAME) -> str:
    """Start and end of a long text.

    >>> brief("abcdefghijklmnop", 9)
    'abcdef … nop'
    """
    text = str(value)
    return text if len(text) <= most else f"{text[: most - most // 3]} … {text[-(most // 3) :]}"


def number(value: float | None) -> str:
    """A number for people: thousands apart, three digits of a fraction, a dash for none.

    >>> number(12345), number(0.00012345), number(None)
    ('12,345', '0.000123', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:.3g}"


def flat(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """A nested mapping as rows of a dotted name and a text, no more than a page can hold.

    >>> list(flat({"scan": {"seed": 0, "model": "probe"}}))
    [('scan.seed', '0'), ('scan.model', 'probe')]
    """
    rows = list(_leaves(value, name))
    yield from rows[:MAX_SETTINGS]
    if len(rows) > MAX_SETTINGS:
        yield "…", f"and {len(rows) - MAX_SETTINGS} more"


def _leaves(value: object, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _leaves(part, f"{name}.{key}" if name else str(key))
    else:
        yield name, value if isinstance(value, str) else json.dumps(value)
