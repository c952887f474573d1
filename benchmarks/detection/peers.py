"""Other people's detectors on the same features, as they are out of the box: no setting is ours.

    PYTHON -m benchmarks.detection.peers FEATURES.npz ANSWERS.npz

Runs under any interpreter that has them (``pip install "dataset-sanitizer[bench]"``) and imports nothing of ours, so
that a peer's requirements never meet the scan's. FEATURES holds ``features`` (n, d) and ``labels`` (n,), and never the
truth.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray
#: A score for each sample, higher = more suspicious, and what the peer flags, where it decides by itself.
Answer = tuple[Array, Array | None]


def spectral_signatures(features: Array, labels: Array) -> Answer:
    """ART's spectral signatures: scores from its public function, class by class; flags at its expected poison rate."""
    from art.defences.detector.poison import SpectralSignatureDefense

    scores = np.empty(len(features))
    for label in np.unique(labels):
        rows = labels == label
        scores[rows] = SpectralSignatureDefense.spectral_signature_scores(features[rows]).ravel()
    return scores, _flagged_by(SpectralSignatureDefense, features, labels)


def activation_clustering(features: Array, labels: Array) -> Answer:
    """ART's activation clustering: it only says yes or no, so that is its score too."""
    from art.defences.detector.poison import ActivationDefence

    flags = _flagged_by(ActivationDefence, features, labels)
    return flags.astype(float), flags


def outlier_score(features: Array, labels: Array) -> Answer:  # noqa: ARG001 - it looks at no labels
    """cleanlab's outlier score, which is low for outliers and has no threshold."""
    from cleanlab.outlier import OutOfDistribution

    return -np.asarray(OutOfDistribution().fit_score(features=features, verbose=False), float), None


def local_outlier_factor(features: Array, labels: Array) -> Answer:  # noqa: ARG001 - it looks at no labels
    """PyOD's LOF."""
    from pyod.models.lof import LOF

    fitted = LOF().fit(features)
    return np.asarray(fitted.decision_scores_, float), np.asarray(fitted.labels_, bool)


@dataclass(frozen=True)
class Peer:
    """Whose it is, what it was given, and how to ask it."""

    package: str
    given: str
    threshold: str
    ask: Callable[[Array, Array], Answer]


_ART = "adversarial-robustness-toolbox"
PEERS = {
    "ART spectral signatures": Peer(
        _ART, "our probe's features, labels", "expects 33 % poison, times 1.5", spectral_signatures
    ),
    "ART activation clustering": Peer(
        _ART, "our probe's features, labels", "the smaller of two clusters of each class", activation_clustering
    ),
    "cleanlab outlier score": Peer("cleanlab", "our probe's features", "none", outlier_score),
    "PyOD LOF": Peer("pyod", "our probe's features", "expects 10 % outliers", local_outlier_factor),
}


@dataclass(frozen=True)
class Opinion:
    """What a peer said, or why it said nothing."""

    version: str | None = None
    failed: str | None = None
    seconds: float | None = None
    scores: Array | None = field(default=None, repr=False)
    flags: Array | None = field(default=None, repr=False)

    def facts(self) -> dict[str, Any]:
        """Everything but the arrays."""
        return {name: value for name, value in asdict(self).items() if name not in ("scores", "flags")}


def hear(peer: Peer, features: Array, labels: Array) -> Opinion:
    """Ask one peer; one that is not installed or breaks says so, and stops nobody else."""
    try:
        version = metadata.version(peer.package)
    except metadata.PackageNotFoundError:
        return Opinion(failed=f"{peer.package} is not installed")
    np.random.seed(0)  # activation clustering draws from the global generator
    start = time.perf_counter()
    try:
        scores, flags = peer.ask(features, labels)
    except Exception as error:  # whatever a stranger's code raises is its result here
        line = (str(error).splitlines() or [""])[0]
        return Opinion(version, failed=f"{type(error).__name__}: {line}")
    seconds = round(time.perf_counter() - start, 2)
    if scores.shape != labels.shape or not np.isfinite(scores).all():
        return Opinion(version, failed="its scores are not one finite number for each sample", seconds=seconds)
    return Opinion(version, seconds=seconds, scores=scores, flags=flags)


def hear_all(python: str | Path, features: Array, labels: Array) -> dict[str, Opinion]:
    """Ask every peer, in a process of another interpreter; if that does not end well, no peer has said anything."""
    with tempfile.TemporaryDirectory(prefix="peers-") as scratch:
        asked, said = Path(scratch) / "features.npz", Path(scratch) / "answers.npz"
        np.savez(asked, features=np.asarray(features, np.float32), labels=labels)
        command = [str(python), "-m", "benchmarks.detection.peers", str(asked), str(said)]
        # ART makes a folder in the home of whoever imports it.
        home = {"HOME": scratch, "PYTHONPATH": str(Path(__file__).parents[2])}
        done = subprocess.run(command, check=False, stdout=sys.stderr, env=os.environ | home)
        if done.returncode:
            return dict.fromkeys(PEERS, Opinion(failed=f"the process of the peers ended with {done.returncode}"))
        return read_opinions(said)


def write_opinions(path: Path, opinions: dict[str, Opinion]) -> None:
    """Arrays beside facts, without pickle."""
    arrays = {f"{name}/{what}": getattr(said, what) for name, said in opinions.items() for what in ("scores", "flags")}
    facts = json.dumps({name: said.facts() for name, said in opinions.items()})
    np.savez(path, facts=np.array(facts), **{name: array for name, array in arrays.items() if array is not None})


def read_opinions(path: Path) -> dict[str, Opinion]:
    """What ``write_opinions`` wrote."""
    with np.load(path, allow_pickle=False) as stored:
        facts = json.loads(str(stored["facts"]))
        return {
            name: Opinion(**told, scores=stored.get(f"{name}/scores"), flags=stored.get(f"{name}/flags"))
            for name, told in facts.items()
        }


@dataclass(frozen=True)
class _Features:
    """What ART takes for a classifier: all that its two detectors ask of one are the activations of its last layer."""

    nb_classes: int
    layer_names: tuple[str, ...] = ("features",)

    def get_activations(self, rows: Array, layer: int, batch_size: int) -> Array:  # noqa: ARG002 - ART's signature
        """The rows are activations already."""
        return rows


def _flagged_by(kind: Any, features: Array, labels: Array) -> Array:
    defence = kind(_Features(int(labels.max()) + 1), features, labels)
    _, is_clean = defence.detect_poison()
    return ~np.asarray(is_clean, bool)


def main(asked: str, said: str) -> None:
    """Read features, ask everybody, write their answers."""
    with np.load(asked, allow_pickle=False) as stored:
        features, labels = stored["features"], stored["labels"]
    write_opinions(Path(said), {name: hear(peer, features, labels) for name, peer in PEERS.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
