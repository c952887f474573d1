"""Pictures inside the page: encoded into it, and no more of them than it can hold."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup

from sanitizer.actions.page.exhibits import Exhibits
from sanitizer.record import Verdict
from sanitizer.sources.pooled import PooledSource

MAX_PICTURES = 10 * 2**20  # characters of encoded pictures
SMALL = 48  # pixels: narrower pictures are enlarged without blur

#: How each format that a gallery may hold begins. Anything else stays out of the page.
_FORMATS = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg"}


@dataclass(frozen=True)
class Picture:
    """A thumbnail with its caption."""

    id: str
    label: str | None
    uri: Markup | None  # None where the gallery holds no picture, or the page is full
    pixelated: bool
    trusted: bool  # it belongs to the trusted reference, not to what was scanned


class Pictures:
    """Hands out thumbnails until the page is full: who asks first is served first."""

    def __init__(self, verdict: Verdict, exhibits: Exhibits) -> None:
        self.exhibits = exhibits
        self.left = MAX_PICTURES
        self.pooled = verdict.summary["calibration"]["kind"] == "trusted"
        ids = pa.array(sorted({name for name, _ in exhibits.by_name}), pa.string())
        named = verdict.table.filter(pc.is_in(verdict.table["id"], ids)).select(["id", "label_name"])
        self.labels = {row["id"]: row["label_name"] for row in named.to_pylist()}

    def of(self, name: str, role: str) -> Picture:
        """The thumbnail of a sample, with what it is called."""
        content = self.exhibits.by_name.get((name, role), {}).get("thumbnail")
        trusted = self.pooled and PooledSource.is_trusted(name)
        return Picture(name, self.labels.get(name), self.uri(content), pixelated(content), trusted)

    def uri(self, content: bytes | None) -> Markup | None:
        """The address that holds a whole picture; None for what is no picture, or does not fit any more."""
        kind = next((kind for start, kind in _FORMATS.items() if (content or b"").startswith(start)), None)
        if not content or kind is None or len(content) * 4 // 3 >= self.left:
            return None
        uri = Markup(f"data:image/{kind};base64,") + Markup(base64.b64encode(content).decode())
        self.left -= len(uri)
        return uri


def pixelated(content: bytes | None) -> bool:
    """Whether a picture is so small that its pixels are to be seen; told of PNG alone, which says its width early."""
    head = (content or b"")[:24]
    return head.startswith(b"\x89PNG") and int.from_bytes(head[16:20], "big") < SMALL
