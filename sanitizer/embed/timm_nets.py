"""timm's networks: by name with their published weights, or named by a checkpoint or the config.json beside it."""

from __future__ import annotations

import json
import logging
import math
import re
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import nn

from sanitizer.embed.checkpoint import Checkpoint, load_strictly
from sanitizer.embed.network import Network, Triple, could_not_fetch
from sanitizer.embed.probe import weights_digest
from sanitizer.errors import MissingDependency, UsageError

logger = logging.getLogger(__name__)

_LARGEST_CONFIG = 1 << 20  # bytes
_LARGEST_SIDE = 4096
_PLAIN_NAME = re.compile(r"\w[\w.\-]*")  # no scheme: a file does not choose what is fetched


@dataclass(frozen=True)
class _Declared:
    """What a checkpoint says of itself; what it leaves open is as timm has it."""

    architecture: str
    settings: dict[str, Any]  # of the constructor
    side: int | None = None
    mean: Triple | None = None
    std: Triple | None = None


def fetch(name: str) -> Network:
    """A network with its published weights, out of the cache or from the network."""
    timm = _timm()
    if ":" not in name and not timm.is_model(name):
        close = timm.list_models(f"*{name[:6]}*")[:3] or ["resnet50", "vit_base_patch16_224"]
        raise UsageError(f"expected a model of timm, got {name!r}; try {', '.join(close)}")
    try:
        net = timm.create_model(name, pretrained=True, num_classes=0)
    except Exception as error:  # no network, no such tag, a broken file in the cache: each in its own words
        raise UsageError(could_not_fetch(f"timm:{name}", error)) from error
    return _network(net, _Declared(name, {}), weights_digest(net))


def recognise(checkpoint: Checkpoint) -> Network | None:
    """The network that the checkpoint itself names, or the config.json beside it; None where neither does."""
    declared = _declared(checkpoint)
    if declared is None:
        return None
    timm = _timm()
    if not (_PLAIN_NAME.fullmatch(declared.architecture) and timm.is_model(declared.architecture)):
        logger.info("%s: timm does not know %r", checkpoint.path, declared.architecture)
        return None
    classes = _classes(timm, declared.architecture, checkpoint)
    net = timm.create_model(declared.architecture, pretrained=False, num_classes=classes, **declared.settings)
    load_strictly(net, checkpoint.tensors, str(checkpoint.path))
    digest = weights_digest(net)
    net.reset_classifier(0)
    return _network(net, declared, digest)


def _timm() -> Any:
    try:
        return import_module("timm")
    except ImportError as error:
        raise MissingDependency(
            "expected timm for this model, got no such package; pip install 'dataset-sanitizer[timm]'"
        ) from error


def _network(net: nn.Module, declared: _Declared, digest: str) -> Network:
    """Images as the checkpoint declares them, otherwise as timm does."""
    wants = import_module("timm.data").resolve_model_data_config(net)
    return Network(
        net.eval(), declared.architecture, digest,
        side=declared.side or _side(wants["input_size"], "timm"),
        mean=declared.mean or _triple(wants["mean"], "timm", "mean"),
        std=declared.std or _triple(wants["std"], "timm", "std"),
    )  # fmt: skip


def _classes(timm: Any, architecture: str, checkpoint: Checkpoint) -> int:
    """As many as the file's head has; 0 where it comes without one."""
    head = getattr(timm.get_pretrained_cfg(architecture), "classifier", None) or ()
    names = [head] if isinstance(head, str) else head
    rows = [checkpoint.shapes[f"{name}.weight"] for name in names if f"{name}.weight" in checkpoint.shapes]
    return rows[0][0] if rows and rows[0] else 0


def _declared(checkpoint: Checkpoint) -> _Declared | None:
    """From the file's metadata or the configuration of the Hugging Face hub's layout."""
    for key in ("architecture", "timm"):
        if key in checkpoint.metadata:
            return _Declared(checkpoint.metadata[key], {})
    path = checkpoint.path.parent / "config.json"
    config = _read_config(path) if path.is_file() else {}
    if "architecture" not in config:
        return None
    wants = config.get("pretrained_cfg", {})
    if not (isinstance(config["architecture"], str) and isinstance(wants, dict)):
        raise _wrong(path, "architecture to be a string and pretrained_cfg an object", config)
    return _Declared(
        config["architecture"], _settings(config, path),
        side=_side(wants["input_size"], path) if "input_size" in wants else None,
        mean=_triple(wants["mean"], path, "mean") if "mean" in wants else None,
        std=_triple(wants["std"], path, "std") if "std" in wants else None,
    )  # fmt: skip


def _read_config(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            config = json.loads(file.read(_LARGEST_CONFIG))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"expected JSON in {path}, got something else ({error}); repair or remove it") from error
    return config if isinstance(config, dict) else {}


def _settings(config: dict[str, Any], path: Path) -> dict[str, Any]:
    """What changes the function that is computed; anything that we cannot honour is refused, not ignored."""
    settings = config.get("model_args", {})
    if not isinstance(settings, dict) or settings.keys() - {"img_size"}:
        raise _wrong(path, "no model_args but img_size", settings)
    if "img_size" in settings:
        settings = {"img_size": _side([3, settings["img_size"], settings["img_size"]], path)}
    return settings


def _side(size: Any, where: Path | str) -> int:
    """Of a square input in colour."""
    match size:
        case [3, int(height), int(width)] if height == width and 1 <= height <= _LARGEST_SIDE:
            return height
    raise _wrong(where, f"input_size [3, side, side] up to {_LARGEST_SIDE}", size)


def _triple(values: Any, where: Path | str, what: str) -> Triple:
    """Three finite numbers; a spread is positive too."""
    match values:
        case [int() | float() as r, int() | float() as g, int() | float() as b]:
            if all(math.isfinite(x) and (what == "mean" or x > 0) for x in (r, g, b)):
                return float(r), float(g), float(b)
    raise _wrong(where, f"{what} of three finite numbers", values)


def _wrong(where: Path | str, expected: str, came: object) -> UsageError:
    return UsageError(f"{where}: expected {expected}, got {str(came)[:100]}; correct it")
