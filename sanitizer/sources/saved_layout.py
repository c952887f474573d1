"""How ``save_to_disk`` lays a dataset out: Arrow streams, and JSON that says which files belong to it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from sanitizer.errors import SourceError
from sanitizer.sources.table import ImageTable, common_schema, same_classes

STATE, INFO, SPLITS = "state.json", "dataset_info.json", "dataset_dict.json"
#: What the library wants to find in state.json, and what it writes there for a dataset without a format.
_PLAIN_STATE: dict[str, Any] = {
    "_format_columns": None,
    "_format_kwargs": {},
    "_format_type": None,
    "_output_all_columns": False,
    "_split": None,
}
#: What dataset_info.json says about the content: no longer true of a copy with other rows.
_COUNTS = ("splits", "dataset_size", "download_size", "download_checksums", "post_processing_size", "size_in_bytes")


def table_of(schemas: Mapping[str, pa.Schema], where: str, *arguments: Any, **settings: Any) -> ImageTable:
    """The columns that all files share, with one meaning of the labels."""
    schema = common_schema(schemas, where)
    same_classes(schemas, where)
    _refuse_vectors(schema, where)
    return ImageTable(schema, where, *arguments, **settings)


def _refuse_vectors(schema: pa.Schema, where: str) -> None:
    """A set of vectors is told where such sets are read."""
    kinds = [field.type for field in schema]
    vectors = [
        kind
        for kind in kinds
        if (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))
        and pa.types.is_floating(kind.value_type)
    ]
    images = [
        kind for kind in kinds if pa.types.is_struct(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    ]
    if len(vectors) == 1 and not images:
        raise SourceError(
            f"expected a column of encoded images in {where}, found one of vectors: vectors are read from .npz or "
            "Parquet, write them there (Dataset.to_parquet)"
        )


@contextmanager
def writing(path: Path, schema: pa.Schema) -> Iterator[Callable[[list[pa.Array]], None]]:
    """A new Arrow stream that takes rows."""
    with path.open("xb") as file, pa.ipc.new_stream(file, schema) as writer:
        yield lambda columns: writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))


def describe(folder: Path, files: list[str], state: Mapping[str, Any], info: Mapping[str, Any]) -> None:
    """The two JSON files that make a folder of Arrow files a saved dataset."""
    content = hashlib.sha256()
    for name in files:
        with (folder / name).open("rb") as file:
            content.update(hashlib.file_digest(file, "sha256").digest())
    known = {key: state.get(key, plain) for key, plain in _PLAIN_STATE.items()}
    # The library finds cached results by the fingerprint: other content must never have the old one.
    known |= {"_data_files": [{"filename": name} for name in files], "_fingerprint": content.hexdigest()[:16]}
    write_json(folder / STATE, known)
    write_json(folder / INFO, {key: value for key, value in info.items() if key not in _COUNTS})


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """As the library writes it."""
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")
