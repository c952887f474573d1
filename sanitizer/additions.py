"""Additions: samples that came after a set was fitted are judged as their nearest fitted neighbours of that label were.

The network of the fit and what it saw are kept in the store, so the cost follows the additions. What they are compared
with is what the fit found: poison of a kind that was not there then is nothing that this can know. Fit again for that.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sanitizer.record import Verdict
from sanitizer.sources.base import Pixels
from sanitizer.sources.decode import fit as fitted_into
from sanitizer.store import Shelf, Store

if TYPE_CHECKING:
    from sanitizer.extraction import Extracted

#: Fitted samples of its label that a new one is judged by; more than half of them have to be flagged.
NEIGHBOURS = 8
#: New samples that go through the network at once.
_BATCH = 256


@dataclass(frozen=True, eq=False)
class Reference:
    """A fitted set in the eyes of its network, and what was said of every sample."""

    about: Mapping[str, Any]  # the network
    weights: Mapping[str, Any]  # tensors of a probe; none of a frozen network, which has its own file
    feature: NDArray[np.float32]  # (n, d)
    labels: NDArray[np.int32]
    flagged: NDArray[np.bool_]
    scores: NDArray[np.float32]

    def judged(self, images: Sequence[Pixels], labels: Sequence[int]) -> list[tuple[bool, float]]:
        """Whether each image is suspicious under its label, and how much; NaN where nobody has that label."""
        found = []
        for start in range(0, len(images), _BATCH):
            part = slice(start, start + _BATCH)
            features = np.asarray(self._embedded(images[part]), np.float32)
            found += [self._by_neighbours(row, label) for row, label in zip(features, labels[part], strict=True)]
        return found

    def _by_neighbours(self, feature: NDArray[np.float32], label: int) -> tuple[bool, float]:
        members = np.flatnonzero(self.labels == label)
        if not len(members):
            return False, float("nan")
        distances = np.square(self.feature[members] - feature).sum(axis=1)
        nearest = members[np.argsort(distances, kind="stable")[:NEIGHBOURS]]
        return bool(self.flagged[nearest].mean() > 0.5), float(np.median(self.scores[nearest]))

    def _embedded(self, images: Sequence[Pixels]) -> NDArray[Any]:
        """On the CPU and on one thread: a forked process can use neither the parent's GPU nor its threads."""
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return self._by_probe(images) if self.about["kind"] == "probe" else self._by_backbone(images)
        finally:
            torch.set_num_threads(before)

    def _by_probe(self, images: Sequence[Pixels]) -> NDArray[Any]:
        import torch

        from sanitizer.embed.probe import embed

        net, side = self._probe
        pixels = torch.from_numpy(np.stack([fitted_into(image, side) for image in images])).permute(0, 3, 1, 2)
        return embed(net, pixels, np.zeros(len(images), np.int64), device=torch.device("cpu"))[0]

    @functools.cached_property
    def _probe(self) -> tuple[Any, int]:
        """The probe as it was when its training ended, and how large it sees images; made once in a process."""
        import torch

        from sanitizer.embed.probe import plan_probe, trained_again

        about = self.about
        plan = plan_probe(about["samples"], about["side"], budget=about["budget"], seed=about["seed"])
        return trained_again(dict(self.weights), about["classes"], plan, torch.device("cpu")), plan.side

    def _by_backbone(self, images: Sequence[Pixels]) -> NDArray[Any]:
        backbone = _backbone(self.about["name"])
        return backbone.embed(np.stack([fitted_into(image, backbone.side) for image in images]))  # type: ignore[no-any-return]


def remember(store: Store | None, verdict: Verdict, extracted: Extracted, about: Mapping[str, Any]) -> None:
    """Keep what additions to the set of this verdict are to be compared with; ``about``: the network."""
    if store is None or verdict.incomplete:
        return
    rows = verdict.table.filter(pc.equal(verdict.table["status"], "scanned"))
    features = np.asarray(extracted.spaces["feature"])
    if (about["kind"] == "probe" and extracted.weights is None) or len(rows) != len(features):
        return  # trusted samples are compared with, and not reported on
    import safetensors.torch

    weights = safetensors.torch.save(dict(extracted.weights)) if extracted.weights else b""
    columns = {
        "feature": pa.FixedSizeListArray.from_arrays(pa.array(features.astype(np.float16).ravel()), features.shape[1]),
        "label": rows["label"].fill_null(-1),
        "flagged": rows["suspicious"],
        "score": rows["score"].cast(pa.float32()),
    }
    table = pa.table(columns).replace_schema_metadata({"about": json.dumps(dict(about)), "weights": weights})
    _shelf(store, verdict.digest).replace(table)


@functools.lru_cache(maxsize=2)
def reference(store_name: str | None, digest: str) -> Reference | None:
    """What was remembered of the set of a verdict; None where nothing was."""
    store = Store.open(store_name)
    table = next(_shelf(store, digest).tables(), None) if store else None
    return None if table is None else _read(table)


def _read(table: pa.Table) -> Reference | None:
    """What a table of the shelf says; None if it is whole and nothing that we wrote."""
    import safetensors.torch

    try:
        metadata = table.schema.metadata or {}
        weights = metadata[b"weights"]
        feature = table["feature"].combine_chunks()
        return Reference(
            about=json.loads(metadata[b"about"]),
            weights=safetensors.torch.load(weights) if weights else {},
            feature=feature.flatten().to_numpy().reshape(len(table), -1).astype(np.float32),
            labels=table["label"].to_numpy(),
            flagged=table["flagged"].to_numpy(),
            scores=table["score"].to_numpy(),
        )
    except (AttributeError, KeyError, ValueError, safetensors.SafetensorError):
        return None


def _shelf(store: Store, digest: str) -> Shelf:
    return store.shelf("fits", verdict=digest)


@functools.lru_cache(maxsize=1)
def _backbone(name: str) -> Any:
    import torch

    from sanitizer.embed.backbone import open_backbone

    return open_backbone(name, device=torch.device("cpu"))
