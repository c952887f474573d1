"""From names to detectors and attacks: ours and a stranger's come by the same door, entry points.

Nothing is imported until it is asked for by name, and a stranger's plugin runs only if the user names it.
"""

from __future__ import annotations

import difflib
import functools
import importlib
from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from sanitizer.errors import MissingDependency, UsageError

if TYPE_CHECKING:
    from detectors.base import Detector
    from sanitizer.attacks.base import Attack

DISTRIBUTION = "dataset-sanitizer"
DETECTORS, ATTACKS = "sanitizer.detectors", "sanitizer.attacks"


def names(group: str, *, own: bool = False) -> list[str]:
    """All names of a group, or only those that ship with us."""
    return sorted(name for name, point in _points(group).items() if not own or _is_own(point))


def detector(name: str) -> Detector:
    """A detector by name, with its default settings."""
    made = _load(DETECTORS, name)()
    from detectors.base import Detector

    if not isinstance(made, Detector):
        came = type(made).__name__
        raise UsageError(f"expected a detectors.base.Detector from plugin {name!r}, got {came}: mend the plugin")
    return made


def attack(name: str) -> type[Attack]:
    """The class of an attack by name."""
    return _load(ATTACKS, name)  # type: ignore[no-any-return]


def origin(group: str, name: str) -> str:
    """The distribution that a plugin comes from."""
    point = _points(group)[name]
    return point.dist.name if point.dist else "unknown"


def _load(group: str, name: str) -> Any:
    point = _points(group).get(name)
    if point is None:
        kind = group.removeprefix("sanitizer.").removesuffix("s")
        close = difflib.get_close_matches(name.lower(), names(group), n=3)
        hint = f"try {' or '.join(close)}, or see" if close else "see"
        raise UsageError(f"expected the name of a {kind}, got {name!r}: {hint} `sanitizer {kind}s`")
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        raise MissingDependency(f"plugin {name!r} cannot be imported ({error}): install what it needs") from None


def _points(group: str) -> dict[str, EntryPoint]:
    """One entry point per name; where a stranger takes one of our names, ours stays."""
    return _points_by(entry_points, group)


@functools.cache
def _points_by(find: Callable[..., Iterable[EntryPoint]], group: str) -> dict[str, EntryPoint]:
    """What is installed does not change while we run, and to read who it is from takes a millisecond each time."""
    ranked = sorted(find(group=group), key=_is_own)
    return {point.name: point for point in ranked}


def _is_own(point: EntryPoint) -> bool:
    return point.dist is not None and point.dist.name == DISTRIBUTION


def require_own_detectors() -> None:
    """Another project on the package index, or a folder of the user's, may be called ``detectors`` too."""
    found = importlib.import_module("detectors")
    if getattr(found, "DISTRIBUTION", None) != DISTRIBUTION:
        raise MissingDependency(
            f"expected the package 'detectors' of {DISTRIBUTION}, got {getattr(found, '__file__', None)!r}: "
            "rename or uninstall that one, then reinstall ours"
        )
