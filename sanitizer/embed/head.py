"""A linear head for features that come without one: what the user's labels look like to a frozen network.

Cross-fitted: the head that judges a sample was not fitted on it, or a small set in many dimensions would be
learned by heart, planted labels included.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sanitizer.nets import content_noise

VERSION = 1  # of everything in this module that can change a space

#: Parts of the set, each judged by a head that was fitted on the others.
FOLDS = 5
#: Weight of the penalty, relative to the mean loss, on the head's weights for standardised features.
PENALTY = 1e-3
#: Steps of L-BFGS: on standardised features it has settled by then.
STEPS = 60


def cross_fitted_residual(
    feature: NDArray[np.floating],  # (n, d)
    labels: NDArray[np.int64],
    keys: NDArray[np.uint64],
    classes: int,
    *,
    seed: int,
    device: torch.device,
) -> NDArray[np.float32]:
    """softmax - onehot of every sample, (n, C), by a head that has not seen the sample."""
    rows = _standardised(feature).to(device)
    targets = torch.from_numpy(labels).to(device)
    fold = torch.from_numpy((content_noise(keys, seed, 0) % np.uint64(FOLDS)).astype(np.int64)).to(device)
    residual = torch.empty(len(rows), classes)
    for number in range(FOLDS):
        judged = fold == number
        if not judged.any():
            continue
        weight, bias = fit_head(rows[~judged], targets[~judged], classes)
        residual[judged.cpu()] = (rows[judged] @ weight + bias).softmax(dim=1).cpu()
    residual[torch.arange(len(labels)), torch.from_numpy(labels)] -= 1
    return residual.numpy()


def fit_head(rows: Tensor, targets: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Multinomial logistic regression with a small penalty: weights (d, C) and biases (C,)."""
    weight = torch.zeros(rows.shape[1], classes, device=rows.device, requires_grad=True)
    bias = torch.zeros(classes, device=rows.device, requires_grad=True)
    if not len(rows):  # copies of one sample are judged together: nothing is left to learn from
        return weight.detach(), bias.detach()
    search = torch.optim.LBFGS([weight, bias], max_iter=STEPS, history_size=10, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        search.zero_grad()
        value = F.cross_entropy(rows @ weight + bias, targets) + PENALTY * (weight**2).sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    search.step(loss)  # type: ignore[no-untyped-call]
    return weight.detach(), bias.detach()


def _standardised(feature: NDArray[np.floating]) -> Tensor:
    """Columns with mean 0 and spread 1; constant ones stay 0."""
    rows = torch.from_numpy(feature.astype(np.float32))  # a copy: what follows changes it in place
    rows -= rows.mean(dim=0, dtype=torch.float64).float()  # exact where all values are the same
    rows /= rows.std(dim=0).clamp_min(1e-6)
    return rows
