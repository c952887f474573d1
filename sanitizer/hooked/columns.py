"""Where the hook finds image and label in the rows it is handed, and which class a label value means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sanitizer.errors import UsageError
from sanitizer.hooked.lookup import NO_LABEL
from sanitizer.sources.base import Source
from sanitizer.sources.columns import LABEL_COLUMNS, class_labels, find_image_column, find_label_column
from sanitizer.sources.metadata import name_of_label


@dataclass(frozen=True, slots=True)
class Rows:
    """What one call hands over: image and label of each row, and whether it was a batch of them or one alone."""

    images: list[Any]
    labels: list[int | None]  # places among the class names, NO_LABEL in sets without labels, None: of no known class
    batched: bool


@dataclass(frozen=True)
class Columns:
    """The two columns as they were at fit; ``label`` is None where no column is known to hold them."""

    image: str
    label: str | None
    class_names: tuple[str, ...]
    numbered: bool  # whole numbers are places among the class names, and not names themselves

    @classmethod
    def of(cls, dataset: Any, source: Source, image_column: str | None, label_column: str | None) -> Columns:
        """The columns of what is fitted: ``dataset`` in memory, or a path.

        Rows that belong to a path are loaded from it later, by somebody else: they are expected to call the image
        "image" and the label by one of the usual names, unless the settings say otherwise.
        """
        names = source.class_names
        if isinstance(dataset, str | Path):
            numbers = all(name.removeprefix("-").isdecimal() for name in names)
            return cls(image_column or "image", label_column, names, not numbers)
        schema = dataset.data.schema
        label = find_label_column(schema, label_column, source.uri)
        declared = class_labels(schema).get(label) if label else None
        return cls(find_image_column(schema, image_column, source.uri).name, label, names, bool(declared))

    def names_in(self, columns: Iterable[Any], *, labels: bool = True) -> list[str]:
        """The image column, and the label column if it is wanted and there are labels; an error if one is missing."""
        found = [str(column) for column in columns]
        if self.image not in found:
            raise UsageError(_missing(f"{self.image!r} with the images", found, "image_column"))
        if not (labels and self.class_names):
            return [self.image]
        label = next((name for name in ([self.label] if self.label else LABEL_COLUMNS) if name in found), None)
        if label is None:
            wanted = f"{self.label!r}" if self.label else f"{', '.join(LABEL_COLUMNS[:-1])} or {LABEL_COLUMNS[-1]}"
            raise UsageError(_missing(f"{wanted} with the labels", found, "label_column"))
        return [self.image, label]

    def read(self, rows: Mapping[str, Any]) -> Rows:
        """Image and label of the rows of one call."""
        image, *label = self.names_in(rows.keys())
        images: Any = rows[image]
        labels: Any = values_of(rows[label[0]]) if label else None
        batched = _are_many(images, labels)
        if not batched:
            images, labels = [images], [labels]
        if not label:
            return Rows(list(images), [NO_LABEL] * len(images), batched)
        places = {name: place for place, name in enumerate(self.class_names)}
        return Rows(list(images), [self._place(value, places) for value in labels], batched)

    def _place(self, value: Any, places: Mapping[str, int]) -> int | None:
        if isinstance(value, float) and value.is_integer():  # beside nulls, numpy has no whole numbers
            value = int(value)
        if self.numbered and isinstance(value, int):
            return value if 0 <= value < len(self.class_names) else None
        name = name_of_label(value)
        return None if name is None else places.get(name)


def values_of(column: Any) -> Any:
    """A column, or one value of it, as plain Python, whatever format it was asked for in."""
    return column.tolist() if hasattr(column, "tolist") else column


def _are_many(images: Any, labels: Any) -> bool:
    """Labels tell where images may not: three dimensions can be one image in colour or many in grey."""
    if isinstance(images, list):
        return True
    if not hasattr(images, "ndim"):  # one image, stored or decoded by PIL
        return False
    return isinstance(labels, list) if labels is not None else np.ndim(images) not in (2, 3)


def _missing(wanted: str, found: list[str], setting: str) -> str:
    return (
        f"expected a column {wanted} in the rows, as at fit, got {', '.join(found)}: rename it, or fit with {setting}="
    )
