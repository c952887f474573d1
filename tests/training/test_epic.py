"""EPIC as a loop meets it: when it looks, what it may drop, and that a run can be resumed."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from toy_gradients import CLASSES, published_rule, softened

from sanitizer.errors import UsageError
from sanitizer.training.epic import Epic
from sanitizer.training.gradients import LastLayer, last_layer
from sanitizer.training.sampler import KeptSampler

LABELS = np.arange(600) % 3


def rounds(epic: Epic, epochs: range) -> Epic:
    """As many looks as are due, at gradients that change with the epoch."""
    for epoch in epochs:
        if epic.due(epoch):
            epic.drop(epoch, softened(epic.labels, seed=epoch))
    return epic


def test_it_looks_every_so_often_between_warm_up_and_the_last_drop_of_the_rate() -> None:
    """As published: from K on, where T divides the epoch, up to and with M."""
    epic = Epic(LABELS, every=5, warmup=12, until=25)
    assert [epoch for epoch in range(40) if epic.due(epoch)] == [15, 20, 25]
    assert Epic(LABELS, every=1, warmup=0).due(10**6)


def test_an_epoch_that_is_begun_again_is_not_looked_at_again() -> None:
    """A run resumed in the middle of an epoch has had its look."""
    epic = rounds(Epic(LABELS, every=2, warmup=2), range(5))
    assert [one.epoch for one in epic.rounds] == [2, 4]
    assert not epic.due(4)
    assert epic.due(6)


def test_whoever_is_dropped_never_returns() -> None:
    """Rounds only add, and drop nobody twice."""
    epic = Epic.as_published(LABELS, every=1, warmup=0)
    kept = epic.kept
    for epoch in range(6):
        epic.drop(epoch, softened(LABELS, seed=epoch))
        assert not (epic.kept & ~kept).any()
        kept = epic.kept
    assert len({found.row for found in epic.log}) == len(epic.log) == (~kept).sum() > 0


def test_the_dropped_remain_among_those_who_are_compared() -> None:
    """The same gradients again: nobody becomes the outermost because others have gone."""
    epic = Epic.as_published(LABELS)
    gradients = softened(LABELS)
    assert epic.drop(10, gradients)
    assert epic.drop(12, gradients) == ()


def test_caps_leave_the_less_lonely_in() -> None:
    """A capped run drops the loneliest of those whom one without caps drops."""
    gradients = softened(LABELS)
    free = [found.row for found in Epic.as_published(LABELS, share=0.4).drop(10, gradients)]
    capped = Epic.as_published(LABELS, share=0.4, max_drop=0.02)
    assert [found.row for found in capped.drop(10, gradients)] == free[:12]
    assert capped.rounds[0].isolated == len(free) > 12
    assert capped.drop(12, softened(LABELS, seed=1)) == ()


@settings(max_examples=40)
@given(
    st.lists(st.integers(1, 40), min_size=2, max_size=5),
    st.floats(0.01, 1), st.floats(0.01, 1), st.floats(0.1, 1), st.integers(2, 12),
)  # fmt: skip
def test_no_settings_let_a_class_disappear(
    sizes: list[int], max_drop: float, max_class_drop: float, share: float, smallest: int
) -> None:
    """After any number of rounds every cap holds, and small classes are whole."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    epic = Epic(
        labels, share=share, every=1, warmup=0, max_drop=max_drop, max_class_drop=max_class_drop,
        smallest_class=smallest,
    )  # fmt: skip
    kept = rounds(epic, range(3)).kept
    assert (~kept).sum() <= max_drop * len(labels)
    for label, size in enumerate(sizes):
        gone = int((~kept[labels == label]).sum())
        assert gone <= max_class_drop * size
        assert gone < size
        assert size >= smallest or gone == 0


@pytest.mark.parametrize("dense_up_to", [10_000, 100], ids=["dense", "sparse"])
def test_classes_of_any_size_do_not_disturb_one_another(dense_up_to: int) -> None:
    """Of three unequal classes, mixed, each loses what it loses alone."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat([0, 1, 2], [40, 500, 1]))
    gradients = softened(labels)
    settings = {"share": 0.3, "max_drop": 1.0, "dense_up_to": dense_up_to}
    together = {found.row for found in Epic(labels, **settings).drop(10, gradients)}
    for label in (0, 1):
        rows = np.flatnonzero(labels == label)
        alone = Epic(labels[rows], **settings).drop(10, LastLayer(gradients.residual[rows]))
        assert {int(rows[found.row]) for found in alone} == together & set(rows.tolist()) != set()
    assert not together & set(np.flatnonzero(labels == 2).tolist())


def test_as_published_unequal_classes_too() -> None:
    """The rule itself, on sizes that the published code mixes up."""
    labels = np.repeat([0, 1, 2], [300, 40, 90])
    gradients = softened(labels, seed=3)
    found = {one.row for one in Epic.as_published(labels, share=0.3).drop(0, gradients)}
    assert found == published_rule(gradients.residual, labels, 0.3) != set()


def test_the_log_says_who_and_why() -> None:
    """Names of the user's own, the epoch, and how far away the nearest other gradient was."""
    epic = Epic(LABELS, ids=[f"{row}.png" for row in range(600)], share=0.3)
    gradients = softened(LABELS)
    epic.drop(10, gradients)
    assert epic.log
    for found in epic.log:
        others = (found.label == LABELS) & (np.arange(600) != found.row)
        away = np.linalg.norm(gradients.residual[others] - gradients.residual[found.row], axis=1).min()
        assert found.distance == pytest.approx(float(away), rel=1e-4)
        assert (found.id, found.epoch) == (f"{found.row}.png", 10)
        assert f"{found.distance:.3g} from" in found.why
        assert "epoch 10" in found.why
    assert [found.distance for found in epic.log] == sorted((found.distance for found in epic.log), reverse=True)
    assert Epic(LABELS, share=0.3).drop(0, gradients)[0].id == f"#{epic.log[0].row}"


def test_a_state_goes_through_json_and_continues_alike() -> None:
    """What is resumed drops what the uninterrupted run drops, epoch by epoch."""
    whole = rounds(Epic(LABELS, warmup=2), range(12))
    first = rounds(Epic(LABELS, warmup=2), range(7))
    second = Epic(LABELS, warmup=2)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    np.testing.assert_array_equal(second.kept, first.kept)
    rounds(second, range(6, 12))
    assert [asdict(one) for one in second.rounds] == [asdict(one) for one in whole.rounds]
    assert whole.log


def test_the_state_of_another_set_is_refused() -> None:
    """Rows would mean other samples."""
    state = Epic(LABELS).state_dict()
    with pytest.raises(UsageError, match="another"):
        Epic(LABELS[::-1].copy() + 1).load_state_dict(state)


@pytest.mark.parametrize(
    "wrong", [{"share": 0}, {"max_drop": 1.5}, {"max_class_drop": -1}, {"every": 0}, {"neighbors": 0}, {"ids": ["a"]}]
)
def test_settings_that_cannot_be_meant_are_refused(wrong: dict[str, object]) -> None:
    """By name."""
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Epic(LABELS, **wrong)


def test_no_labels_are_refused() -> None:
    """There is nothing to compare."""
    with pytest.raises(UsageError, match="labels"):
        Epic([])


def planted_set() -> tuple[TensorDataset, np.ndarray, np.ndarray]:
    """Three separable classes, and at the end seven samples, each of another kind, that carry a label of theirs."""
    rng = np.random.default_rng(0)
    labels = np.arange(307) % 3
    points = 4 * np.eye(CLASSES)[labels] + 0.5 * rng.normal(size=(307, CLASSES))
    isolated = np.arange(300, 307)
    points[isolated] = 0
    points[isolated, isolated - 297] = 6 + np.arange(7)
    return TensorDataset(torch.from_numpy(points).float(), torch.from_numpy(labels)), labels, isolated


def trained(epic: Epic, sampler: KeptSampler, data: TensorDataset, epochs: range, model: nn.Module) -> list[int]:
    """A plain loop, and how many samples each epoch met."""
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05)
    met = []
    for epoch in epochs:
        epic(epoch, model, data)
        sampler.set_epoch(epoch)
        met.append(0)
        for points, answers in DataLoader(data, batch_size=32, sampler=sampler):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(points), answers).backward()
            optimiser.step()
            met[-1] += len(points)
    return met


def test_a_loop_drops_planted_loners_and_nearly_nothing_else() -> None:
    """Most of them after a few rounds; of the ordinary ones, hardly any."""
    data, labels, isolated = planted_set()
    torch.manual_seed(0)
    epic = Epic(labels, share=0.1, warmup=2)
    met = trained(epic, KeptSampler(epic), data, range(9), nn.Linear(CLASSES, 3))
    assert met[0] == 307
    assert met[-1] == epic.kept.sum()
    assert (~epic.kept[isolated]).sum() >= 5
    assert epic.kept[:300].sum() >= 297


def test_a_resumed_loop_ends_where_the_whole_one_ends() -> None:
    """Model, optimiser-free, EPIC and sampler from a checkpoint: every weight is the same."""
    data, labels, _ = planted_set()
    ended = []
    for pieces in ([range(8)], [range(5), range(5, 8)]):
        torch.manual_seed(0)
        model, state = nn.Linear(CLASSES, 3), None
        for piece in pieces:
            epic = Epic(labels, share=0.2, warmup=2)
            if state:
                epic.load_state_dict(state)
            trained(epic, KeptSampler(epic, seed=4), data, piece, model)
            state = epic.state_dict()
        ended.append((model.weight.detach().clone(), epic.kept))
    torch.testing.assert_close(ended[0][0], ended[1][0], rtol=0, atol=0)
    np.testing.assert_array_equal(ended[0][1], ended[1][1])


def test_weight_gradients_are_used_when_asked_for() -> None:
    """The features take part in what is compared."""
    data, labels, _ = planted_set()
    torch.manual_seed(0)
    model = nn.Linear(CLASSES, 3)
    epic = Epic(labels, share=0.3, warmup=0, weights=True, max_drop=1)
    expected = Epic(labels, share=0.3, max_drop=1).drop(0, last_layer(model, data, labels, with_feature=True))
    assert epic(0, model, data) == expected != ()
