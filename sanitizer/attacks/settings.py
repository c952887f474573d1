"""``--set key=value``: the words of a command line as the settings of an attack."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import fields
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from sanitizer.attacks.base import Attack
from sanitizer.errors import UsageError

_BOOLS = {"true": True, "yes": True, "false": False, "no": False}
# In the order in which they are tried: an attack that takes text and a number (a class) tells them apart itself.
_WORDS: dict[type, str] = {
    NoneType: "none",
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
}


def parse_settings(attack: type[Attack], pairs: Sequence[str], *, taken: Collection[str] = ()) -> dict[str, Any]:
    """The constructor arguments that ``key=value`` pairs stand for, typed as the attack declares them.

    Args:
        attack: Whose settings are meant.
        pairs: What the user wrote, one setting each.
        taken: Settings that have an option of their own and may not be given twice.

    >>> from sanitizer.attacks.badnets import BadNets
    >>> parse_settings(BadNets, ["size=4", "alpha=0.5", "mode=all_to_all"])
    {'size': 4, 'alpha': 0.5, 'mode': 'all_to_all'}
    """
    hints = get_type_hints(attack)
    known = [setting.name for setting in fields(attack) if setting.name not in taken]
    settings: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        key = key.strip()
        if not equals:
            raise UsageError(f"--set: expected key=value, got {pair!r}; {attack.name} knows {', '.join(known)}")
        if key in taken:
            raise UsageError(f"--set {key}: {key!r} has an option of its own: use --{key}")
        if key not in known:
            raise UsageError(f"--set: {attack.name} has no setting {key!r}; it knows {', '.join(known)}")
        if key in settings:
            raise UsageError(f"--set {key}: expected it once, got it twice: keep one")
        settings[key] = _typed(key, text.strip(), hints[key])
    return settings


def _typed(key: str, text: str, hint: Any) -> Any:
    """The text as the first of the hinted types that it can mean."""
    allowed = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    kinds = [kind for kind in _WORDS if kind in allowed]
    for kind in kinds:
        with suppress(ValueError):
            return _READERS[kind](text)
    expected = " or ".join(_WORDS[kind] for kind in kinds)
    raise UsageError(f"--set {key}: expected {expected}, got {text!r}")


def _read_none(text: str) -> None:
    if text.lower() != "none":
        raise ValueError(text)


def _read_bool(text: str) -> bool:
    try:
        return _BOOLS[text.lower()]
    except KeyError:
        raise ValueError(text) from None


_READERS: dict[type, Any] = {NoneType: _read_none, bool: _read_bool, int: int, float: float, str: str}
