"""The family of triggerless attacks: no image is changed at test time; chosen test images are to get a wrong label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sanitizer.attacks.base import is_whole
from sanitizer.attacks.crafted import CraftedAttack, Scene, tensor_of
from sanitizer.attacks.exam import Exam
from sanitizer.attacks.poisoned import readable
from sanitizer.attacks.setups import Setup, read_setup, rows_at
from sanitizer.attacks.workshop import Workshop
from sanitizer.errors import UsageError
from sanitizer.sources.base import Pixels, open_source
from sanitizer.sources.census import Census
from sanitizer.sources.decode import fit

_TARGET = "target_{:04d}"


@dataclass(frozen=True, kw_only=True)
class TargetedAttack(CraftedAttack):
    """Poison of the target class makes a victim say that class for a few chosen test images.

    Args:
        test: A SOURCE of images with the same classes that nobody trains on: the images to be misread come from it.
        targets: How many of its images are to be misread.
        source: Class that they show, by name or index; any but the target class if None.
        setups: A JSON file of setups of the public poisoning benchmark, for data in the order of its original rows.
        setup: Number of the setup that says which image is to be misread as what, and which samples are changed.
    """

    threat: ClassVar[str] = "chosen test images, clean label"
    needs: ClassVar[tuple[str, ...]] = ("gradients of a surrogate", "test images (--set test=SOURCE)")

    test: str | None = None
    targets: int = 1
    source: str | int | None = None
    setups: str | None = None
    setup: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("targets", is_whole(self.targets) and self.targets >= 1, "a whole number, at least 1")
        self.expect("setup", self.setup is None or (is_whole(self.setup) and self.setup >= 0), "a number, or None")
        if (self.setup is None) != (self.setups is None):
            raise UsageError("setup: expected a number and the file that it is in: --set setup=17 --set setups=FILE")
        if self.setup is not None:
            for name in ("target", "source"):
                self.expect(name, getattr(self, name) is None, "None, as the setup names the classes")
            self.expect("targets", self.targets == 1, "1, as a setup has one target image")
            _ = self._setup  # a file that cannot be read is refused before any work is done

    def aim(self, class_names: Sequence[str]) -> int:
        """The class that the target images are to be taken for; a setup's base class if there is a setup."""
        if "answer" in self.learned:
            return int(self.learned["answer"].item())  # a scalar that was stored comes back with one row
        if self._setup:
            return self.class_index("base class", self._setup.base_class, class_names)
        return super().aim(class_names)

    def require(self) -> None:
        """Test images."""
        if self.test is None:
            raise UsageError(
                f"{self.name} needs test images that nobody trains on, got none: name them, --set test=SOURCE"
            )

    def prepare(self, census: Census, target: int, workshop: Workshop) -> Self:
        """Choose the images to be misread."""
        self.require()
        source = open_source(self.test)
        if source.holds != "images":
            raise UsageError(f"test: expected images, {self.test!r} holds {source.holds}: name a set of images")
        tests = readable(source, workshop.progress)
        rows = self._chosen(tests, census.class_names, target)
        taken = {sample.view_digest for sample in census.samples}
        if any(tests.samples[row].view_digest in taken for row in rows):
            raise UsageError(f"test: expected images that are not in the set, {self.test!r} shares some: name others")
        images = dict(tests.each_image(rows))
        learned: dict[str, NDArray[Any]] = {_TARGET.format(i): images[int(row)] for i, row in enumerate(rows)}
        return self.knowing(learned | {"answer": np.array(target)})

    def target_images(self) -> list[Pixels]:
        """The images to be misread, at their own size."""
        return [self.learned[name] for name in sorted(self.learned) if name.startswith("target_")]

    def targets_in(self, scene: Scene) -> Tensor:
        """The images to be misread as the surrogates see them, (k, 3, side, side) in [0, 1]."""
        side = scene.lesson.pixels.shape[1]
        return tensor_of(np.stack([fit(image, side) for image in self.target_images()]), scene.device)

    def exam(self, images: Sequence[Pixels], labels: NDArray[np.int64], class_names: Sequence[str]) -> Exam:  # noqa: ARG002 - the test images were chosen before
        """The target images, as they are."""
        shown = self.target_images()
        return Exam(shown, np.full(len(shown), self.aim(class_names)))

    def keeps(self, census: Census) -> frozenset[str]:
        """What a setup changes."""
        return frozenset(census.samples[row].id for row in self.pick(census, -1)) if self._setup else frozenset()

    def pick(self, census: Census, target: int) -> NDArray[np.intp]:
        """What a setup changes, or a random share of the target class."""
        if self._setup:
            return rows_at(census, self._setup.base_indices, self._setup.base_class, "base indices")
        return super().pick(census, target)

    def _chosen(self, tests: Census, class_names: Sequence[str], target: int) -> NDArray[np.intp]:
        """Rows of the test images to be misread: the setup's, or random ones."""
        if self._setup:
            return rows_at(tests, [self._setup.target_index], self._setup.target_class, "target index")
        known = {name: label for label, name in enumerate(class_names)}
        labels = np.array([-1 if label < 0 else known.get(tests.class_names[label], -1) for label in tests.labels()])
        fits = (labels >= 0) & (labels != target)
        if self.source is not None:
            fits = labels == self.other_class("source", self.source, target, class_names)
        candidates = np.flatnonzero(fits)
        if len(candidates) < self.targets:
            raise UsageError(
                f"test: expected at least {self.targets} images of the wanted classes in {self.test!r}, "
                f"got {len(candidates)}: name another source"
            )
        return np.sort(np.random.default_rng(self.seed).choice(candidates, self.targets, replace=False))

    @cached_property
    def _setup(self) -> Setup | None:
        return None if self.setup is None or self.setups is None else read_setup(self.setups, self.setup)
