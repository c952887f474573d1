"""The lookup behind the hook: every digest is found, whatever its bytes, and the worst of what is the same is told."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from sanitizer.hooked.lookup import NO_LABEL, Lookup

# Zeros at either end, and digests that differ in their last byte only.
DIGESTS = [byte * 31 + last for byte in ("00", "61", "ff") for last in ("00", "01", "ff")]
KINDS = ["", "planted", "label"]

rows = st.tuples(
    st.sampled_from(DIGESTS), st.sampled_from(DIGESTS), st.sampled_from([None, 0, 1]), st.sampled_from(KINDS),
    st.floats(0, 9, width=32),
)  # fmt: skip


def table(rows: list[tuple[Any, ...]]) -> pa.Table:
    """A verdict on these rows, and on one that could not be read."""
    stored, views, labels, kinds, scores = map(list, zip(*rows, strict=True))
    return pa.table(
        {
            "digest": pa.array([*stored, None], pa.string()),
            "view_digest": pa.array([*views, None], pa.string()),
            "label": pa.array([*labels, 0], pa.int32()),
            "suspicious": [*(kind != "" for kind in kinds), False],
            "kind": [*kinds, ""],
            "score": pa.array([*scores, None], pa.float64()),
        }
    )


@given(st.lists(rows, min_size=1, max_size=12, unique_by=lambda row: row[0]))
def test_what_was_said_is_found_and_nothing_else(rows: list[tuple[Any, ...]]) -> None:
    """By stored bytes, by view, by view and label; of several the worst."""
    lookup = Lookup.unpacked(Lookup.packed(table(rows)))
    views = {stored: view for stored, view, *_ in rows}
    for digest in DIGESTS:
        assert lookup.view_of(digest) == views.get(digest)
        assert lookup.knows(digest) == (digest in views.values())
        for label in (None, 0, 1):
            same = [
                (kind != "", score, kind) for _, view, named, kind, score in rows if (view, named) == (digest, label)
            ]
            found = lookup.find(digest, NO_LABEL if label is None else label)
            worst = max((told[:2] for told in same), default=None)
            assert (None if found is None else (found.suspicious, found.score)) == worst
            assert found is None or (found.suspicious, found.score, found.kind) in same
    assert all(lookup.find(view, None) is None for view in DIGESTS)


@given(st.lists(rows, min_size=1, max_size=9), st.randoms())
def test_the_order_of_the_rows_changes_nothing(rows: list[tuple[Any, ...]], random: Any) -> None:
    """Neither which samples are known nor how bad they are."""

    def told(rows: list[tuple[Any, ...]]) -> list[Any]:
        lookup = Lookup.unpacked(Lookup.packed(table(rows)))
        found = [lookup.find(view, label) for view in DIGESTS for label in (NO_LABEL, 0, 1)]
        return [one and (one.suspicious, one.score) for one in found]

    assert told(random.sample(rows, len(rows))) == told(rows)
