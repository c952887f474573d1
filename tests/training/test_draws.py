"""Seeded draws: a checkpoint keeps where they are."""

from __future__ import annotations

import io
import json

import torch

from sanitizer.training.draws import Seeded


def test_a_resumed_one_draws_what_would_have_come() -> None:
    """Whatever its own seed was; the state passes through JSON and through a safe checkpoint."""
    one, other = Seeded(seed=3), Seeded(seed=4)
    one.draws.random(5)
    state = json.loads(json.dumps(one.state_dict()))
    torch.save(one.state_dict(), file := io.BytesIO())
    file.seek(0)
    assert torch.load(file, weights_only=True) == state
    other.load_state_dict(state)
    assert other.draws.random(9).tolist() == one.draws.random(9).tolist()


def test_seeds_tell_draws_apart() -> None:
    """And nothing else does."""
    assert Seeded(seed=1).draws.random() == Seeded(seed=1).draws.random() != Seeded(seed=2).draws.random()
