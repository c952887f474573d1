"""What other tools can take over: a verdict's issues and a scan's neighbour graph, in cleanlab's conventions.

Nothing of cleanlab is imported. The graph is as scikit-learn has it too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sanitizer.errors import UsageError
from sanitizer.extraction import PROBE, Extraction
from sanitizer.index import nearest
from sanitizer.pipeline import ScanSettings, expect_samples, opened
from sanitizer.record import Verdict
from sanitizer.sources.base import Change, Found, Holds, Source, Status
from sanitizer.sources.census import Census, take_census
from sanitizer.sources.pooled import PooledSource
from sanitizer.store import Store

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Rows = NDArray[np.int64]


def issues_of(verdict: Verdict) -> pa.Table:
    """A verdict in cleanlab's columns: ``is_poison_issue``, ``poison_score``, ``is_label_issue``, ``id``.

    BEWARE: ``poison_score`` RUNS THE OPPOSITE WAY to every score of ours. Here 1 is good and 0 is bad, as in
    cleanlab; in ``verdict.table``, and in the column of the same name that ``Sanitizer`` adds to a dataset, higher
    is worse. It is the p-value of the row, null where there is none, that is where nothing was scanned. What is an
    issue is the verdict's decision, and no threshold of this score.

    The rows are in the order of ``verdict.table``, which is not that of the source: join them by ``id``.
    """
    kind = verdict.table["kind"]
    columns = {
        "is_poison_issue": pc.fill_null(pc.equal(kind, "planted"), False),
        "poison_score": verdict.table["p_value"],
        "is_label_issue": pc.fill_null(pc.equal(kind, "label"), False),
        "id": verdict.table["id"],
    }
    return pa.table(columns)


@overload
def knn_graph(
    source: Any, *, k: int = 10, settings: ScanSettings | None = None, skip_unreadable: Literal[False] = False
) -> csr_matrix: ...
@overload
def knn_graph(
    source: Any, *, k: int = 10, settings: ScanSettings | None = None, skip_unreadable: Literal[True]
) -> tuple[csr_matrix, Rows]: ...
def knn_graph(
    source: Any, *, k: int = 10, settings: ScanSettings | None = None, skip_unreadable: bool = False
) -> csr_matrix | tuple[csr_matrix, Rows]:
    """The k nearest samples of every sample of the whole set, as a scan with these settings sees them.

    For ``Datalab.find_issues(knn_graph=...)`` of cleanlab. Row i is row i of the source as it was given (of a folder
    or of files: in the order in which they are listed). As in scikit-learn, the data are Euclidean distances, each
    row is sorted by them, and no sample is its own neighbour. After a scan with the same settings and a store nothing
    is computed again but the search; otherwise the network is run here, a probe even trained.

    Args:
        source: What ``scan`` takes.
        k: Neighbours of each sample, fewer than there are samples.
        settings: Those of the scan; trusted samples are looked at beside the others and are not in the graph.
        skip_unreadable: What could not be scanned has no neighbours, so that it is refused. With this it is left
            out, and the rows of the source that are in the graph are returned beside it.
    """
    from scipy.sparse import csr_matrix

    seeing = _Seeing.of(source, settings or ScanSettings())
    samples, unread = len(seeing.kept), seeing.total - len(seeing.kept)
    if unread and not skip_unreadable:
        raise UsageError(
            f"expected a set that can be read as a whole, {unread:,} of {seeing.total:,} items cannot: repair them, "
            "or use skip_unreadable=True, which leaves them out and returns which rows are in the graph"
        )
    if not 1 <= k < samples:
        raise UsageError(f"k: expected 1 to {samples - 1:,} neighbours among {samples:,} samples, got {k}: try 10")
    everyone = np.arange(samples)
    found = nearest(seeing.features(), [(everyone, everyone)], k, device=seeing.device)
    cells = found.distances.astype(np.float64).ravel(), found.indices.ravel(), np.arange(samples + 1) * k
    graph = csr_matrix(cells, shape=(samples, samples))
    return (graph, seeing.kept) if skip_unreadable else graph


class _Listed:
    """A source that remembers the order of its items, which a census does not keep."""

    def __init__(self, source: Source) -> None:
        self.uri = source.uri
        self.holds: Holds = source.holds
        self.class_names = source.class_names
        self.ids: dict[str, None] = {}  # of all that claims to be a sample, in the order of the source
        self._source = source

    @property
    def root(self) -> Path | None:
        """That of the source."""
        return self._source.root

    def stream(self, wanted: frozenset[str] | None = None) -> Iterator[Found]:
        """What the source gives; a second reading adds nothing to the list."""
        for found in self._source.stream(wanted):
            if found.status is not Status.IGNORED:
                self.ids.setdefault(found.id)
            yield found

    def rewrite(self, destination: Path, change: Callable[[Found], Change]) -> dict[str, str]:
        """What the source does."""
        return self._source.rewrite(destination, change)


@dataclass(frozen=True)
class _Seeing:
    """A source that was read, and how a scan would look at its samples."""

    census: Census
    rows: Rows  # of the census, in the order of the source
    kept: Rows  # the same samples by their number in the source
    total: int  # items in the source, trusted ones aside
    settings: ScanSettings
    store: Store | None

    @classmethod
    def of(cls, source: Any, settings: ScanSettings) -> _Seeing:
        """Read it as a scan does; refuse what a scan refuses."""
        if settings.decoding != "exact":
            raise UsageError(f"decoding: expected 'exact' for a graph, got {settings.decoding!r}: leave it out")
        suspect, trusted = opened(source, settings)
        pool = PooledSource(suspect, trusted) if trusted else suspect
        store = Store.open(settings.store, outside=[one.root for one in (suspect, trusted) if one])
        listed = _Listed(pool)
        census = take_census(listed, store=store)
        expect_samples(census, pool)
        ids = [name for name in listed.ids if not (trusted and PooledSource.is_trusted(name))]
        row_of = {sample.id: row for row, sample in enumerate(census.samples)}
        kept = np.array([number for number, name in enumerate(ids) if name in row_of], np.int64)
        rows = np.array([row_of[ids[number]] for number in kept], np.int64)
        return cls(census, rows, kept, len(ids), settings, store)

    @property
    def device(self) -> str:
        """Where the settings have it computed."""
        from sanitizer.devices import resolve_device

        return str(resolve_device(self.settings.device))

    def features(self) -> NDArray[Any]:
        """The feature space, in the order of the source."""
        from sanitizer.devices import resolve_device

        asked = self.settings
        extract = Extraction(
            model=asked.model, budget=asked.budget, seed=asked.seed, device=resolve_device(asked.device),
            store=self.store,
        )  # fmt: skip
        # Only a probe looks at labels: without them no head is fitted to features that are frozen.
        learns = self.census.holds == "images" and asked.model == PROBE
        census = self.census if learns else replace(self.census, class_names=())
        space: NDArray[Any] = extract(census).spaces["feature"]
        return space[self.rows]
