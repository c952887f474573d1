"""SIG: a wave across the columns, within its height, on the target class only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made import assert_refused_settings, assert_sound, books, grey, source_of

from sanitizer.attacks.sig import SIG


def test_it_is_a_sound_trigger() -> None:
    """As every trigger."""
    assert_sound(SIG())


@pytest.mark.parametrize("width", [28, 32, 48])
def test_the_wave_is_a_sine_of_the_column(width: int) -> None:
    """So many periods, so high, the same in every row and channel."""
    stamped = SIG(delta=20, frequency=3).trigger(grey(8, width)[None])[0].astype(int) - 100
    wave = stamped[0, :, 0]
    assert (stamped == wave[None, :, None]).all()
    assert np.abs(wave - 20 * np.sin(2 * np.pi * 3 * np.arange(width) / width)).max() <= 0.5 + 1e-4
    assert np.abs(np.fft.rfft(wave)).argmax() == 3


def test_no_label_changes(tmp_path: Path) -> None:
    """Only the target class is stamped; the exam shows the others."""
    attack = SIG(rate=0.1, target="bee")
    poisoned = attack.poison(source_of(tmp_path / "source"), tmp_path / "out")
    poisons = books(poisoned, "poison")
    assert [(row["original_label"], row["label"]) for row in poisons] == [("bee", "bee")] * 4
    exam = attack.exam([grey()] * 4, np.arange(4), poisoned.recipe["class_names"])
    assert exam.answers.tolist() == [1, 1, 1]


@pytest.mark.parametrize("settings", [{"delta": 0}, {"delta": 256}, {"frequency": 0}, {"frequency": 1.5}], ids=str)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, object]) -> None:
    """At once."""
    assert_refused_settings(SIG, settings)
