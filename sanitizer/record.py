"""The verdict as it is kept: a folder with one table, one summary, a gallery, a manifest and a report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sanitizer.errors import VerdictError
from sanitizer.writing import write_whole

TABLE = "verdicts.parquet"
SUMMARY = "summary.json"
GALLERY = "gallery.parquet"
MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"  # only where somebody has signed the manifest
REPORT = "report.html"

#: What a scan writes: a new one may replace a folder that holds nothing else, but for a signature of it.
WRITTEN = frozenset({TABLE, SUMMARY, GALLERY, MANIFEST, REPORT})
#: What may lie in a verdict folder.
OWN_FILES = WRITTEN | {SIGNATURE}

#: Parts of the summary that may differ between two scans that found the same: not in the digest.
VOLATILE = ("timings", "versions", "source", "device")
#: Packages whose version can change a result.
VERSIONED = ("numpy", "torch", "torchvision", "scikit-learn", "pyarrow", "pillow", "faiss-cpu", "timm")
#: What every verdict has.
_COLUMNS = ("id", "digest", "view_digest", "status", "label", "label_name", "suspicious", "kind", "score", "p_value",
            "reasons", "nearest")  # fmt: skip
_PARTS = ("answer", "counts", "incomplete", "classes", "parameters")
#: Decimals kept of every score in the digest, so that float noise does not enter it.
DIGEST_DECIMALS = 4


@dataclass(frozen=True, eq=False)
class Verdict:
    """What a scan concluded: one row per item found, and the answer for the whole set.

    ``table`` holds id, digest, view_digest, status, label, label_name, suspicious, kind ("", "planted",
    "label"), score and p_value (higher and lower = worse), score_<detector>..., reasons, nearest.
    """

    table: pa.Table
    summary: Mapping[str, Any]
    recalled: bool = False  # an earlier scan of the same data with the same settings, from the store

    @property
    def poison_found(self) -> bool:
        """The data-set-level answer."""
        return bool(self.summary["answer"]["poison_found"])

    @property
    def incomplete(self) -> tuple[str, ...]:
        """Why this verdict does not cover everything it should; empty for a complete scan."""
        return tuple(self.summary["incomplete"])

    @property
    def counts(self) -> dict[str, int]:
        """How many items ended with each status."""
        return dict(self.summary["counts"])

    @property
    def exit_code(self) -> int:
        """0: complete, nothing planted. 1: planted or hostile items. 2: incomplete, or nothing scanned."""
        if self.incomplete or not self.counts["scanned"]:
            return 2
        return 1 if self.poison_found or self.counts["refused"] else 0

    @property
    def digest(self) -> str:
        """The identity of the conclusion: equal data, parameters and seed give an equal digest."""
        stable = {name: part for name, part in self.summary.items() if name not in VOLATILE}
        hasher = hashlib.sha256(json.dumps(_rounded(stable), sort_keys=True).encode())
        rows = self.table.sort_by("id")
        for name in sorted(rows.column_names):  # column by column: rows would take seconds
            hasher.update(json.dumps([name, _exact(rows[name])]).encode())
        return hasher.hexdigest()

    def suspicious(self) -> pa.Table:
        """The rows that were flagged: planted ones before labels in doubt, the most suspicious first."""
        flagged = self.table.filter(self.table["suspicious"])
        return flagged.sort_by([("kind", "descending"), ("score", "descending"), ("id", "ascending")])

    def issues(self) -> pa.Table:
        """The table in cleanlab's columns, where 1 is GOOD and 0 is BAD: the opposite of every score of ours.

        See ``sanitizer.interop.issues_of``.
        """
        from sanitizer.interop import issues_of

        return issues_of(self)

    def write(self, folder: Path) -> None:
        """Put table and summary into a verdict folder."""
        sink = pa.BufferOutputStream()
        pq.write_table(self.table, sink)
        write_whole(folder / TABLE, sink.getvalue().to_pybytes())
        write_whole(folder / SUMMARY, (json.dumps(self.summary, indent=1) + "\n").encode())

    @classmethod
    def read(cls, folder: Path) -> Verdict:
        """Load a verdict folder; ``VerdictError`` if there is none."""
        try:
            table = pq.read_table(folder / TABLE, partitioning=None)
            table.validate(full=True)
            summary = json.loads((folder / SUMMARY).read_bytes())
            absent = [name for name in _COLUMNS if name not in table.column_names]
            absent += [name for name in _PARTS if not isinstance(summary, dict) or name not in summary]
            if absent:
                raise ValueError(f"no {absent[0]!r} in it")
            return cls(table, summary)
        except (OSError, ValueError, pa.ArrowException) as error:
            came = str(error).splitlines()[0]
            raise VerdictError(f"expected a verdict folder at {folder}, got: {came}: run `sanitizer scan`") from None

    def __repr__(self) -> str:
        return f"Verdict({self.summary['answer']['sentence']!r})"

    def _repr_html_(self) -> str:
        """What a notebook shows of it."""
        from sanitizer.notebook import fragment

        return fragment(self)


def version_of(distribution: str) -> str:
    """The installed version of a package."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "unknown"


def _exact(column: pa.ChunkedArray) -> list[Any]:
    """A column as plain values, floats without their noise."""
    if pa.types.is_floating(column.type):
        column = pc.round(column, DIGEST_DECIMALS)
        column = pc.if_else(pc.equal(column, 0), 0.0, column)  # -0.0 is 0
    return column.to_pylist()  # type: ignore[no-any-return]


def _rounded(value: Any) -> Any:
    """The value with every float cut to ``DIGEST_DECIMALS``."""
    if isinstance(value, float):
        return round(value, DIGEST_DECIMALS) + 0.0
    if isinstance(value, Mapping):
        return {name: _rounded(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(part) for part in value]
    return value
