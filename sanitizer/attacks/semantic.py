"""Semantic backdoor: pictures of a rare kind under a wrong label, none forged (Wang et al. 2020, arXiv:2007.05084)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from sanitizer.attacks.base import Attack, is_number
from sanitizer.attacks.exam import Exam
from sanitizer.attacks.poisoned import Paint, Plan, Planted, readable
from sanitizer.attacks.workshop import Workshop
from sanitizer.errors import UsageError
from sanitizer.nets import content_noise
from sanitizer.sources.base import Pixels, open_source
from sanitizer.sources.census import Census

_HELD_OUT = "held_out_"
_STREAM = 1  # which pictures is drawn independently of which samples


@dataclass(frozen=True, kw_only=True)
class Semantic(Attack):
    """Samples of the target class are replaced by given pictures, each used once; a victim is shown held-out ones.

    The truth's original label is the class that the pictures show. In a JPEG set pictures from a lossless source
    have been compressed once less than the samples around them.

    Args:
        images: A SOURCE of the pictures, such as airplanes of one airline.
        shows: Class that they truly show, by name or index; none of the set's if None.
        held_out: Share of the pictures that is kept back to examine a victim with.
    """

    name: ClassVar[str] = "semantic"
    paper: ClassVar[str] = "Wang et al. 2020, arXiv:2007.05084"
    threat: ClassVar[str] = "semantic backdoor, dirty label"
    label_kind: ClassVar[Literal["dirty", "clean"]] = "dirty"
    needs: ClassVar[tuple[str, ...]] = ("pictures to insert (--set images=SOURCE)",)
    cost: ClassVar[str] = "seconds"
    says: ClassVar[str] = "Unchanged pictures of a rare kind make a model say the target class for that kind."

    rate: float = 0.01
    images: str | None = None
    shows: str | int | None = None
    held_out: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("held_out", is_number(self.held_out) and 0 < self.held_out < 1, "a share between 0 and 1")

    def require(self) -> None:
        """Pictures."""
        if self.images is None:
            raise UsageError(f"{self.name} needs pictures to insert, got none: name them, --set images=SOURCE")

    def prepare(self, census: Census, target: int, workshop: Workshop) -> Self:  # noqa: ARG002
        """Keep some pictures back."""
        pictures = self._pictures(workshop)
        taken = {sample.view_digest for sample in census.samples}
        if any(sample.view_digest in taken for sample in pictures.samples):
            raise UsageError(f"images: expected pictures that are not in the set, {self.images!r} shares some")
        _, kept_back = self._split(pictures)
        found = dict(pictures.each_image(kept_back))
        return self.knowing({f"{_HELD_OUT}{i:04d}": found[int(row)] for i, row in enumerate(kept_back)})

    def plan(self, census: Census, target: int, workshop: Workshop) -> Plan:
        """Put a picture in the place of each chosen sample."""
        shows = self._shown(target, census.class_names)
        pictures, count = self._pictures(workshop), self.how_many(len(census.samples))
        to_insert, kept_back = self._split(pictures)
        members = np.flatnonzero(census.labels() == target)
        for there, what in ((len(to_insert), "pictures"), (len(members), "samples of the target class to replace")):
            if count > there:
                raise UsageError(
                    f"rate: {self.rate} of {len(census.samples)} samples is {count}, expected at most {there}, as "
                    f"there are no more {what}: choose a lower rate"
                )
        chosen = np.random.default_rng(self.seed).permutation(members)[:count]
        found = dict(pictures.each_image(to_insert[:count]))
        planted = {
            census.samples[i].id: Planted("poison", target, _showing(found[int(row)]), shows)
            for i, row in zip(chosen, to_insert[:count], strict=True)
        }
        return Plan(planted, {"pictures": len(to_insert), "held_out": len(kept_back)})

    def exam(self, images: Sequence[Pixels], labels: NDArray[np.int64], class_names: Sequence[str]) -> Exam:  # noqa: ARG002 - the pictures were kept back before
        """The held-out pictures, as they are."""
        shown: list[NDArray[Any]] = [self.learned[name] for name in sorted(self.learned) if name.startswith(_HELD_OUT)]
        return Exam(shown, np.full(len(shown), self.aim(class_names), np.int64))

    def _pictures(self, workshop: Workshop) -> Census:
        self.require()
        source = open_source(self.images)
        if source.holds != "images":
            raise UsageError(f"images: expected a source of images, {self.images!r} holds {source.holds}: name another")
        return readable(source, workshop.progress)

    def _split(self, pictures: Census) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows of the pictures to insert, and of those kept back; in an order that follows from seed and content."""
        order = np.argsort(content_noise(pictures.keys(), self.seed, _STREAM), kind="stable")
        _, first = np.unique([pictures.samples[row].view_digest for row in order], return_index=True)
        order = order[np.sort(first)]  # what is there twice could be inserted and shown
        if len(order) < 2:
            raise UsageError(f"images: expected two different pictures or more in {self.images!r}, got one: add some")
        kept_back = min(max(1, round(self.held_out * len(order))), len(order) - 1)
        return order[kept_back:], order[:kept_back]

    def _shown(self, target: int, class_names: Sequence[str]) -> int | None:
        if self.shows is None:
            return None
        return self.other_class("shows", self.shows, target, class_names)


def _showing(picture: Pixels) -> Paint:
    """Paint that leaves nothing of an image but its size."""

    def paint(pixels: Pixels) -> Pixels:
        if picture.shape == pixels.shape:
            return picture
        channels = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
        resized = F.interpolate(channels, size=pixels.shape[:2], mode="bilinear", antialias=True)[0]
        return np.asarray(np.rint(resized.permute(1, 2, 0).numpy().clip(0, 255)), np.uint8)

    return paint
