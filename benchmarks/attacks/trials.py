"""Which attacks are tried on what, with which victim; the published figure and ours to reach stand beside each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One attack with one setting, on one set, against one kind of victim, for several seeds or targets.

    In settings and victims ``DATA/`` and ``WEIGHTS/`` stand for the folders given on the command line.
    """

    attack: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    data: str = "cifar10"
    victim: str = "convnet"
    epochs: int | None = None
    seeds: tuple[int, ...] = (0, 1, 2)
    goal: float | None = None  # the success rate to reach
    published: str = ""

    def key(self, seed: int) -> str:
        """Its name in the results."""
        settings = " ".join(f"{name}={value}" for name, value in self.settings.items())
        victim = self.victim if self.epochs is None else f"{self.victim}@{self.epochs}"
        return f"{self.data}/{self.attack}{' ' if settings else ''}{settings}/{victim}/{seed}"


_SMALL = {"samples": 10_000}  # of the 50,000: at these rates that is poison enough, and a victim takes half the time
_TINY = {"samples": 2_500}  # as in the public benchmark
_CIFAR_NET = "frozen:WEIGHTS/cifar10_resnet20.safetensors"
_TRANSFER = {
    **_TINY, "surrogate": _CIFAR_NET, "steps": 100, "test": "DATA/cifar10/test.parquet",
    "setups": "DATA/poisons/setups/cifar10_transfer_learning.json",
}  # fmt: skip


def _transfers(attack: str, goal: float, published: str, **more: Any) -> list[Trial]:
    """Ten of the benchmark's fixed setups; the seed has no part in them."""
    return [
        Trial(
            attack=attack, settings={**_TRANSFER, **more, "setup": number}, victim=_CIFAR_NET, seeds=(0,), goal=goal,
            published=published,
        )
        for number in range(10)
    ]  # fmt: skip


def _pairs(attack: str, *, published: str, goal: float | None = None, **more: Any) -> list[Trial]:
    """Three pairs of source and target class."""
    settings = {**_TINY, "surrogate": _CIFAR_NET, "steps": 100, "rate": 0.05, **more}
    return [
        Trial(
            attack=attack, settings={**settings, "source": source, "target": target}, victim=_CIFAR_NET, seeds=(0,),
            goal=goal, published=published,
        )
        for source, target in ((1, 0), (5, 3), (9, 2))
    ]  # fmt: skip


#: Figures with a star are from memory of the papers, which could not be looked up.
TRIALS = (
    Trial(attack="badnets", goal=0.95, published="95 % at 10 % *"),
    Trial(attack="blended", goal=0.95, published="99 % at 10 % *"),
    Trial(attack="trojan", goal=0.95, published="99 % at 10 % *"),
    Trial(attack="tact", goal=0.95, published="97 % *"),
    Trial(attack="sig", goal=0.80, published="98 % at 10 % *"),
    Trial(attack="wanet", settings=_SMALL, goal=0.90, published="90-99 % at 10 % *"),
    Trial(attack="bpp", settings=_SMALL, goal=0.90, published="99 % at 10 % *"),
    Trial(attack="wanet", goal=0.90, published="90-99 % at 10 % *"),
    Trial(attack="frequency", data="cifar10_lossless6k", goal=0.90, published="99 % at 10 % *"),
    Trial(attack="frequency", settings={**_SMALL, "magnitude": 100}, goal=0.90, published="99 % at 10 % *"),
    Trial(attack="frequency", settings=_SMALL, goal=0.90, published="99 % at 10 % *"),
    Trial(attack="dynamic", settings={**_SMALL, "steps": 1200}, goal=0.90, published="98-99 % at 10 % *"),
    Trial(attack="wanet", settings={**_SMALL, "rate": 0.02, "cover": 0.04}),
    Trial(attack="bpp", settings={**_SMALL, "rate": 0.02, "cover": 0.02}),
    Trial(attack="frequency", settings={**_SMALL, "rate": 0.02, "magnitude": 100}),
    Trial(attack="dynamic", settings={**_SMALL, "rate": 0.02, "cover": 0.02, "steps": 1200}),
    Trial(attack="label_consistent", settings={**_SMALL, "eps": 16}, goal=0.60, published="over 50 % *"),
    Trial(attack="narcissus", settings={**_SMALL, "rate": 0.005}, published="97 % at 0.05 % *"),
    Trial(attack="narcissus", settings={**_SMALL, "rate": 0.005, "test_scale": 1}),
    Trial(attack="unlearnable", settings={"samples": 5_000}, published="accuracy falls to 10-20 % *"),
    Trial(attack="flip", settings=_SMALL),
    Trial(
        attack="semantic",
        data="cifar10_lossless6k",
        published="over 80 % *",
        settings={
            "rate": 0.02,
            "target": "truck",
            "shows": "airplane",
            "images": "DATA/poisons/southwest_edge_case/train.parquet",
        },
    ),
    *_pairs("hidden_trigger", published="10 % at 1 %"),
    *_pairs("sleeper_agent", retrain=False, goal=0.60, published="85 % at 1 %"),
    *(
        Trial(
            attack="witches_brew",
            data="cifar10_lossless6k",
            seeds=tuple(range(6)),
            settings={
                **_TINY,
                "rate": 0.04,
                "restarts": 1,
                "retrain": retrain,
                "test": "DATA/cifar10_lossless6k/test.parquet",
            },
            published="45 % at 1 %, ResNet-18",
        )
        for retrain in (False, True)
    ),
    *_transfers("witches_brew", 0.60, "45 % from scratch", restarts=1),
    *_transfers("bullseye", 0.80, "85 %"),
    *_transfers("feature_collision", 0.20, "22 %"),
    *_transfers("convex_polytope", 0.20, "33 %"),
    *(
        Trial(attack=name, settings={**_SMALL, "rate": 0.015, "cover": cover}, published=published)
        for name, cover, published in (
            ("adaptive_kway", 0.015, "60-90 % *"),
            ("adaptive_patch", 0.03, "60-98 % *"),
            ("adaptive_blend", 0.015, "60-80 % *"),
        )
    ),
    Trial(attack="adaptive_kway", goal=0.60, published="60-90 % *"),
    Trial(attack="adaptive_patch", goal=0.60, published="60-98 % *"),
    Trial(attack="adaptive_blend", goal=0.60, published="60-80 % *"),
)
