"""Settings from a command line arrive as the types that the attack declares, or not at all."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from sanitizer.attacks.badnets import BadNets
from sanitizer.attacks.blended import Blended
from sanitizer.attacks.settings import parse_settings
from sanitizer.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Flagged(BadNets):
    """With a switch, which none of our own attacks has so far."""

    loud: bool = False


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        ("size=4", {"size": 4}),
        ("size=none", {"size": None}),
        ("alpha=0.5", {"alpha": 0.5}),
        ("alpha=1", {"alpha": 1.0}),
        ("pattern=a=b.png", {"pattern": "a=b.png"}),
        (" mode = all_to_all ", {"mode": "all_to_all"}),
        ("target=3", {"target": "3"}),
        ("loud=true", {"loud": True}),
        ("loud=No", {"loud": False}),
    ],
)
def test_values_get_the_type_that_is_declared(pair: str, expected: dict[str, object]) -> None:
    """Numbers, switches, text and none."""
    parsed = parse_settings(Flagged, [pair])
    assert parsed == expected
    assert [type(value) for value in parsed.values()] == [type(value) for value in expected.values()]


def test_nothing_given_is_nothing_set() -> None:
    """Defaults stay where they are declared."""
    assert parse_settings(BadNets, []) == {}


def test_an_unknown_setting_names_the_known_ones() -> None:
    """Those of this attack, not of another."""
    with pytest.raises(UsageError, match=r"blended has no setting 'size'; it knows .*alpha, image"):
        parse_settings(Blended, ["size=4"])


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["size"], "expected key=value, got 'size'"),
        (["=4"], "no setting ''"),
        (["size=four"], "--set size: expected none or a whole number, got 'four'"),
        (["size=4.5"], "--set size: expected none or a whole number, got '4.5'"),
        (["alpha="], "--set alpha: expected a number, got ''"),
        (["loud=maybe"], "--set loud: expected true or false, got 'maybe'"),
        (["size=3", "size=4"], "got it twice"),
        (["name=x"], "no setting 'name'"),
    ],
)
def test_what_cannot_be_meant_is_refused(pairs: list[str], message: str) -> None:
    """In one line that names the setting."""
    with pytest.raises(UsageError) as caught:
        parse_settings(Flagged, pairs)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_setting_with_an_option_of_its_own_is_not_given_twice() -> None:
    """``--rate`` and ``--set rate=`` could disagree."""
    with pytest.raises(UsageError, match="use --rate"):
        parse_settings(BadNets, ["rate=0.5"], taken=("rate", "target", "seed"))
