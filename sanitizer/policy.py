"""Policy: what a gate lets through, as somebody wrote it down in TOML."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from sanitizer.errors import UsageError

#: What a sample can be flagged as.
KINDS = ("planted", "label")
CALIBRATIONS = ("self", "trusted")
PYPROJECT = "pyproject.toml"
#: Settings that name a file or a folder.
_PATHS = ("baseline", "signed_by")
#: Characters shown of a value that cannot be meant.
_SHOWN = 80


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What a gate lets through; left alone, it lets nothing through that a scan can find.

    Args:
        max_flagged_fraction: Share of the scanned samples that may be flagged.
        max_flagged_fraction_per_class: Share of the samples of any one class that may be flagged.
        max_unreadable_fraction: Share of the items that claim to be samples which may be unreadable.
        max_refused: How many hostile items there may be.
        fail_on: What counts as flagged: ``planted``, ``label``, or both.
        require_detectors: Detectors that must have run.
        require_calibration: How the scan must have been calibrated, ``self`` or ``trusted``.
        max_age_days: How old a verdict may be. A verdict folder has no time inside, so that equal data gives equal
            files; the age is that of its manifest file, which anybody who can write to the folder can change: this
            limit is against forgetting to scan again, not against an enemy. A file from the future is refused.
        baseline: An earlier verdict folder. What was flagged there, with the same content and the same label, is
            known and no longer counted; each finding there excuses one sample, so that copies of it are new.
        signed_by: The public key (PEM) that the manifest of a verdict must be signed with, see ``sanitizer sign``. A
            scan that the gate makes itself needs no signature: its verdict passes through nobody's hands.
    """

    max_flagged_fraction: float = 0.0
    max_flagged_fraction_per_class: float = 0.0
    max_unreadable_fraction: float = 0.0
    max_refused: int = 0
    fail_on: tuple[str, ...] = ("planted",)
    require_detectors: tuple[str, ...] = ()
    require_calibration: str | None = None
    max_age_days: float | None = None
    baseline: Path | None = None
    signed_by: Path | None = None

    def __post_init__(self) -> None:
        for name, (expected, fits) in _EXPECTED.items():
            value = getattr(self, name)
            if value is None and getattr(type(self), name) is None:
                continue
            if not fits(value):
                raise UsageError(f"policy: {name}: expected {expected}, got {repr(value)[:_SHOWN]}: mend it")
        for name in ("fail_on", "require_detectors"):  # a list is as good, but a frozen thing holds none
            object.__setattr__(self, name, tuple(dict.fromkeys(getattr(self, name))))
        for name in _PATHS:
            if (path := getattr(self, name)) is not None:
                object.__setattr__(self, name, Path(path))

    @classmethod
    def read(cls, path: str | Path) -> Policy:
        """The table ``[gate]`` of a TOML file, or ``[tool.sanitizer.gate]`` of a ``pyproject.toml``."""
        path = Path(path)
        settings = dict(_table_of(path))
        known = [field.name for field in fields(cls)]
        for name in settings:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                raise _unfit(path, f"one of {', '.join(known)}", name, f"did you mean {close[0]}?" if close else "")
        try:
            policy = cls(**settings)
        except UsageError as why:
            raise UsageError(f"{str(path)!r}: {why}") from None
        for name in _PATHS:
            if (named := getattr(policy, name)) is not None:  # as seen from the policy, wherever the gate is run
                object.__setattr__(policy, name, path.parent / named)
        return policy


def _table_of(path: Path) -> Mapping[str, Any]:
    """The table that holds the policy; in a file of its own nothing else may stand beside it."""
    try:
        content = tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise UsageError(
            f"--policy: expected a TOML file, cannot read {str(path)!r} ({error.strerror}): check it"
        ) from None
    except (ValueError, RecursionError) as error:
        came = (str(error).splitlines() or [""])[0][:_SHOWN]
        raise UsageError(f"--policy: expected TOML in {str(path)!r}, got: {came}: mend it") from None
    place = ("tool", "sanitizer", "gate") if path.name == PYPROJECT else ("gate",)
    for name in content if len(place) == 1 else ():
        if name != "gate":
            raise _unfit(path, "nothing outside of [gate]", name, "put it below [gate]")
    table: Any = content
    for part in place:
        table = table.get(part) if isinstance(table, dict) else None
    if not isinstance(table, dict):
        came = "none" if table is None else repr(table)[:_SHOWN]
        raise UsageError(f"{str(path)!r}: policy: expected a table [{'.'.join(place)}], got {came}: write one")
    return table


def _unfit(path: Path, expected: str, came: str, advice: str) -> UsageError:
    return UsageError(
        f"{str(path)!r}: policy: expected {expected}, got the unknown key {came[:_SHOWN]!r}: {advice or 'mend it'}"
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_share(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_age(value: Any) -> bool:
    return _is_number(value) and 0 < value < float("inf")


def _is_names(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(name, str) and name for name in value)


def _is_kinds(value: Any) -> bool:
    return _is_names(value) and set(value) <= set(KINDS)


def _is_calibration(value: Any) -> bool:
    return isinstance(value, str) and value in CALIBRATIONS


def _is_path(value: Any) -> bool:
    return isinstance(value, Path) or (isinstance(value, str) and bool(value) and "\0" not in value)


#: What every setting must be, in words and as a test.
_EXPECTED: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "max_flagged_fraction": ("a share from 0 to 1", _is_share),
    "max_flagged_fraction_per_class": ("a share from 0 to 1", _is_share),
    "max_unreadable_fraction": ("a share from 0 to 1", _is_share),
    "max_refused": ("a whole number, 0 or more", _is_count),
    "fail_on": ("a list of 'planted' and 'label'", _is_kinds),
    "require_detectors": ("a list of names of detectors", _is_names),
    "require_calibration": ("'self' or 'trusted'", _is_calibration),
    "max_age_days": ("a number of days above 0", _is_age),
    "baseline": ("the path of a verdict folder", _is_path),
    "signed_by": ("the path of a public key", _is_path),
}
