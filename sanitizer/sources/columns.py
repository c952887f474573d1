"""Which columns of a table hold the images and the labels, and what the labels are called."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeGuard

import pyarrow as pa

from sanitizer.errors import SourceError
from sanitizer.sources.metadata import in_order, name_of_label
from sanitizer.sources.walk import printable

LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "category")


@dataclass(frozen=True, slots=True)
class ImageColumn:
    """Where the stored bytes are: in a binary column, or in the field ``bytes`` of a struct."""

    name: str
    nested: bool

    @property
    def selector(self) -> str:
        """What to ask Parquet for."""
        return f"{self.name}.bytes" if self.nested else self.name

    def bytes_of(self, batch: pa.RecordBatch) -> pa.Array:
        """The bytes row by row, null where the row or its struct is null."""
        column = batch.column(batch.schema.get_field_index(self.name))
        return column.flatten()[column.type.get_field_index("bytes")] if self.nested else column

    def replaced(self, column: pa.Array, content: list[bytes]) -> pa.Array:
        """The column with other bytes and everything else in it as it was."""
        if not self.nested:
            return pa.array(content, column.type)
        fields = list(column.type)
        arrays = column.flatten()
        arrays[column.type.get_field_index("bytes")] = pa.array(content, column.type.field("bytes").type)
        return pa.StructArray.from_arrays(arrays, fields=fields)


@dataclass(frozen=True, slots=True)
class LabelColumn:
    """Where the labels are, and the value that stands for each class."""

    name: str
    class_names: tuple[str, ...]
    raw: tuple[Any, ...]  # label -> stored value
    labels: dict[Any, int]  # stored value -> label

    def labels_of(self, batch: pa.RecordBatch) -> list[int | None]:
        """The label of each row, None where it is null or stands for no class."""
        return [self.labels.get(value) for value in plain(batch.column(batch.schema.get_field_index(self.name)))]

    def stored(self, labels: list[int | None], kind: pa.DataType) -> pa.Array:
        """Labels as the column stores them."""
        values = [None if label is None else self.raw[label] for label in labels]
        return pa.array(values, value_type(kind)).cast(kind)


def find_image_column(schema: pa.Schema, wanted: str | None, where: str) -> ImageColumn:
    """The wanted column, or the only one that can hold images."""
    structs = [field.name for field in schema if _is_struct_of_bytes(field.type)]
    binaries = [field.name for field in schema if _is_binary(field.type)]
    expect_column(schema, wanted, where)
    candidates = structs or binaries if wanted is None else [name for name in structs + binaries if name == wanted]
    if len(candidates) != 1:
        found = ", ".join(f"{field.name} ({field.type})" for field in schema)
        came = f"{len(candidates)} of {wanted or 'that kind'}"
        raise SourceError(
            f"expected one column of encoded images (struct{{bytes, path}} or binary) in {where}, found {came} among "
            f"{one_line(found)}: name it with --image-column"
        )
    return ImageColumn(candidates[0], candidates[0] in structs)


def may_hold_images(schema: pa.Schema) -> bool:
    """Whether any column could be one of encoded images."""
    return any(_is_struct_of_bytes(field.type) or _is_binary(field.type) for field in schema)


def find_label_column(schema: pa.Schema, wanted: str | None, where: str) -> str | None:
    """The wanted column, or one that says it holds class labels, or one with a name that means it."""
    expect_column(schema, wanted, where)
    names = set(schema.names)
    declared = [name for name, names_ in class_labels(schema).items() if name in names and names_]
    name = wanted or next((name for name in (*declared, *LABEL_COLUMNS) if name in names), None)
    if name is None:
        return None
    kind = value_type(schema.field(name).type)
    if not (pa.types.is_integer(kind) or _is_text(kind)):
        raise SourceError(
            f"expected whole numbers or text in the label column {name!r} of {where}, found {one_line(str(kind))}: "
            "name another with --label-column"
        )
    return name


def label_column(schema: pa.Schema, name: str, values: Iterable[Any]) -> LabelColumn:
    """The column called ``name``: its classes are declared by the schema, or are all the values it holds."""
    declared = class_labels(schema).get(name)
    if declared:
        stored = range(len(declared)) if pa.types.is_integer(value_type(schema.field(name).type)) else declared
        return LabelColumn(name, declared, tuple(stored), {value: label for label, value in enumerate(stored)})
    names = {value: text for value in values if (text := name_of_label(value)) is not None}
    class_names = in_order(names.values())
    index = {text: label for label, text in enumerate(class_names)}
    labels = {value: index[text] for value, text in names.items()}
    raw = {label: value for value, label in labels.items()}
    return LabelColumn(name, class_names, tuple(raw[label] for label in range(len(class_names))), labels)


def class_labels(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """The ClassLabel names that the datasets library leaves in a schema: column -> names.

    The schema comes from outside: whatever does not look exactly like such names is passed over.
    """
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        declared = {name: feature.get("names") for name, feature in features.items() if isinstance(feature, dict)}
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return {}
    return {name: tuple(printable(text) for text in names) for name, names in declared.items() if _are_names(names)}


def plain(column: pa.Array) -> list[Any]:
    """The values of a label column, whatever its encoding."""
    return list((column.dictionary_decode() if pa.types.is_dictionary(column.type) else column).to_pylist())


def value_type(kind: pa.DataType) -> pa.DataType:
    """The type of the values, whatever their encoding."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def expect_column(schema: pa.Schema, wanted: str | None, where: str) -> None:
    """Complain about a name that no column has, or that several have."""
    if wanted is not None and schema.names.count(wanted) != 1:
        raise SourceError(
            f"expected a column {wanted!r} in {where}, found {one_line(', '.join(schema.names))}: choose one of these"
        )


def _are_names(names: object) -> TypeGuard[list[str]]:
    return isinstance(names, list) and all(isinstance(name, str) for name in names) and len(set(names)) == len(names)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_struct_of_bytes(kind: pa.DataType) -> bool:
    return (
        bool(pa.types.is_struct(kind)) and kind.get_field_index("bytes") >= 0 and _is_binary(kind.field("bytes").type)
    )


def one_line(text: str) -> str:
    """Text from outside, fit for an error message."""
    return " ".join(printable(text).split())[:500]
