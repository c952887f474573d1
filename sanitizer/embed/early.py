"""Rows of a frozen network that come while a set is being read: every image is decoded once, and not waited for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sanitizer.sources.base import Pixels

if TYPE_CHECKING:  # nothing is loaded for a set that turns out to be known
    from sanitizer.embed.backbone import Backbone
    from sanitizer.store import Shelf


@dataclass
class EarlyRows:
    """It is shown images as they are decoded, and embeds them, whole batches at a time."""

    opened: Callable[[], Backbone]  # asked when there is something to see
    shelf_of: Callable[[Backbone], Shelf | None]
    timed: Callable[[str], AbstractContextManager[None]]
    crowded: Callable[[], bool]  # whether the network's threads would wait for a core that somebody else has
    rows: dict[str, NDArray[np.float16]] = field(default_factory=dict)  # by digest
    _views: dict[str, Pixels] = field(default_factory=dict)
    _unkept: list[str] = field(default_factory=list)

    @cached_property
    def backbone(self) -> Backbone:
        """The network."""
        return self.opened()

    @property
    def side(self) -> int:
        """That of the network."""
        return self.backbone.side

    @cached_property
    def needs_every_core(self) -> bool:
        """Whether nothing is to be decoded while it looks."""
        return self.crowded()

    def see(self, digest: str, view: Pixels) -> None:
        """One image; copies of an image are computed once."""
        if digest not in self.rows:
            self._views[digest] = view
        if len(self._views) == self.backbone.batch:
            self._embed()

    def seen_all(self) -> None:
        """Embed what is left over, and keep it."""
        if self._views:
            self._embed()
        self._keep()

    def _embed(self) -> None:
        from sanitizer.embed.kept import SHARD_ROWS

        with self.timed(f"embedding with {self.backbone.name}"):
            rows = self.backbone.embed(np.stack(list(self._views.values())))
        self.rows.update(zip(self._views, rows, strict=True))
        self._unkept += self._views
        self._views = {}
        if len(self._unkept) >= SHARD_ROWS:
            self._keep()

    def _keep(self) -> None:
        from sanitizer.embed.kept import keep_rows

        shelf = self.shelf_of(self.backbone) if self._unkept else None
        if shelf:
            keep_rows(shelf, self._unkept, np.stack([self.rows[digest] for digest in self._unkept]))
        self._unkept = []
