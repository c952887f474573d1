"""Galleries of any age can be read, and what is no picture stays out of the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_up import flagged, make_verdict

from sanitizer.actions.gallery import SCHEMA
from sanitizer.actions.page.exhibits import Exhibits, read_exhibits
from sanitizer.actions.page.pictures import Pictures, pixelated
from sanitizer.actions.report import render_report
from sanitizer.errors import VerdictError
from sanitizer.record import GALLERY
from sanitizer.sources.encode import encode


def test_a_gallery_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    """Four columns, as galleries once had: the others are nulls, and the page is there."""
    verdict = make_verdict([flagged("a.png")])
    verdict.write(tmp_path)
    old = pa.table({"id": ["a.png"], "role": ["suspicious"], "thumbnail": [b""], "losses": [[1.0, 0.5]]})
    pq.write_table(old, tmp_path / GALLERY)
    (entry,) = read_exhibits(tmp_path).entries
    assert set(entry) == set(SCHEMA.names)
    assert entry["difference"] is entry["planted"] is None
    assert b"a.png" in render_report(tmp_path)


def test_a_gallery_of_a_later_version_is_read(tmp_path: Path) -> None:
    """Columns and roles that nobody knows yet are passed over."""
    row: dict[str, Any] = dict.fromkeys(SCHEMA.names) | {"id": "a", "role": "hologram", "thumbnail": b"", "depth": 1}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / GALLERY)
    exhibits = read_exhibits(tmp_path)
    assert exhibits.of("suspicious") == []
    assert not exhibits.illustrated


@pytest.mark.parametrize("missing", ["id", "role", "thumbnail"])
def test_what_is_no_gallery_is_refused(tmp_path: Path, missing: str) -> None:
    """In one line that says what to do."""
    pq.write_table(
        pa.table({name: ["a"] for name in ("id", "role", "thumbnail") if name != missing}), tmp_path / GALLERY
    )
    with pytest.raises(VerdictError, match=r"scan again$"):
        read_exhibits(tmp_path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_pictures_of_known_formats_are_shown(kind: Any) -> None:
    """As what they are."""
    content = encode(np.zeros((8, 8, 3), np.uint8), kind)
    uri = Pictures(make_verdict([flagged("a")]), Exhibits(())).uri(content)
    assert uri is not None
    assert uri.startswith(f"data:image/{kind.lower()};base64,")


@pytest.mark.parametrize("content", [None, b"", b"<svg onload=alert(1)>", b"GIF89a", b"\x89PNG"])
def test_what_is_no_picture_is_not_shown(content: bytes | None) -> None:
    """A gallery from elsewhere cannot bring another format into the page."""
    assert Pictures(make_verdict([flagged("a")]), Exhibits(())).uri(content) is None
    assert not pixelated(b"\xff\xd8\xff")


def test_a_full_page_takes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks first is served first, and all together stay within the limit."""
    monkeypatch.setattr("sanitizer.actions.page.pictures.MAX_PICTURES", 1000)
    content = encode(np.zeros((8, 8, 3), np.uint8), "PNG")
    pictures = Pictures(make_verdict([flagged("a")]), Exhibits(()))
    given = [pictures.uri(content) for _ in range(20)]
    assert given[0] is not None
    assert given[-1] is None
    assert sum(len(uri) for uri in given if uri) <= 1000
