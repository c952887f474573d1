"""A dataset for ``torch`` without what a verdict flagged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from torch.utils.data import DataLoader, Dataset, RandomSampler, SequentialSampler

from sanitizer.actions.dropping import KINDS, flagged_ids, rows_of
from sanitizer.errors import UsageError, VerdictError
from sanitizer.record import Verdict
from sanitizer.sources.base import Status

T = TypeVar("T")

#: What to do with samples that the verdict does not know.
Unseen = Literal["raise", "keep", "drop"]
#: Names shown of unknown samples.
SHOWN = 3
#: What a loader can be made again from.
_LOADED_BY = (
    "batch_size", "num_workers", "collate_fn", "pin_memory", "drop_last", "timeout", "worker_init_fn", "generator",
    "prefetch_factor", "persistent_workers", "pin_memory_device", "multiprocessing_context",
)  # fmt: skip


class CleanSubset(Dataset[T], Generic[T]):
    """A map-style dataset without the samples that a verdict flagged; the order of the others stays.

    Args:
        dataset: What would be trained on.
        verdict: The verdict on it, or its folder. ``sanitizer.gate`` tells whether it is about this very data.
        ids: The id of every item, as the verdict has them; those of ``torchvision.datasets.ImageFolder`` are known.
        kinds: What of the flagged is left out.
        unseen: What becomes of items that the verdict does not know, or that could not be scanned.
    """

    def __init__(
        self,
        dataset: Dataset[T],
        verdict: Verdict | str | Path,
        *,
        ids: Sequence[str] | None = None,
        kinds: Sequence[str] = KINDS,
        unseen: Unseen = "raise",
    ) -> None:
        found = verdict if isinstance(verdict, Verdict) else Verdict.read(Path(verdict))
        names = list(_ids_of(dataset) if ids is None else ids)
        if len(names) != len(dataset):  # type: ignore[arg-type]  # torch leaves __len__ to the datasets themselves
            raise UsageError(f"ids: expected one for each of {len(dataset):,} items, got {len(names):,}")  # type: ignore[arg-type]
        flagged = flagged_ids(found, kinds)
        scanned = {row["id"] for row in rows_of(found) if row["status"] == Status.SCANNED}
        unknown = [name for name in names if name not in scanned]
        if unknown and unseen == "raise":
            shown = ", ".join(map(repr, unknown[:SHOWN]))
            raise VerdictError(
                f"expected items that the verdict knows, got {len(unknown):,} that it does not ({shown}): "
                "scan again, or say unseen='keep' or unseen='drop'"
            )
        gone = flagged if unseen != "drop" else flagged.union(unknown)
        self.dataset = dataset
        self.indices = [index for index, name in enumerate(names) if name not in gone]
        self.dropped = tuple(name for name in names if name in gone)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> T:
        return self.dataset[self.indices[index]]

    def __repr__(self) -> str:
        return f"CleanSubset({len(self.indices):,} of {len(self.indices) + len(self.dropped):,} items)"


def clean_loader(loader: DataLoader[T], verdict: Verdict | str | Path, **how: Any) -> DataLoader[T]:
    """A loader like this one, without what a verdict flagged; see ``CleanSubset`` for the rest.

    Samplers of the user's own choose indices of the whole dataset, and are refused.
    """
    if type(loader.sampler) not in (RandomSampler, SequentialSampler) or loader.batch_size is None:
        raise UsageError(
            f"expected a loader that shuffles or does not, got one with {type(loader.sampler).__name__}: make a "
            "CleanSubset of the dataset, and your sampler over that"
        )
    subset = CleanSubset(loader.dataset, verdict, **how)
    settings = {name: getattr(loader, name) for name in _LOADED_BY}
    return DataLoader(subset, shuffle=isinstance(loader.sampler, RandomSampler), **settings)


def _ids_of(dataset: Any) -> list[str]:
    """The ids that a scan of the same folder gives its files."""
    root, samples = getattr(dataset, "root", None), getattr(dataset, "samples", None)
    if root is None or samples is None:
        raise UsageError(
            f"ids: expected the verdict's id of every item, got none for a {type(dataset).__name__}: name them"
        )
    return [Path(path).relative_to(root).as_posix() for path, _ in samples]
