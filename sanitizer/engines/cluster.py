"""Ray, quietly: found or started, told what to map over, and ended; whatever goes wrong there is one line here."""

from __future__ import annotations

import importlib
import logging
import os
import shutil
import signal
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from sanitizer.engines.careful import RETRIES, Attempts, Careful, ClusterError
from sanitizer.errors import MissingDependency, SanitizerError

#: Where a cluster is that runs already, as Ray's own tools name it; without one, Ray is started on this machine.
ADDRESS = "RAY_ADDRESS"

#: Nothing is reported to anybody, and what Ray's own processes have to say is not for our users.
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}


@dataclass(frozen=True)
class Cluster:
    """Ray as far as a scan needs it."""

    ray: Any
    workers: int  # that look at images at once: one a processor, or a GPU
    gpus: int  # of each worker

    def results(self, blocks: Sequence[pa.Table], worker: type, **settings: Any) -> Iterator[pa.Table]:
        """What ``worker(**settings)``, made once in each process, makes of each block: here, in any order."""
        with self._counted() as counter:
            mapped = self._map(blocks, worker, settings, counter)
            yield from mapped.iter_batches(batch_size=None, batch_format="pyarrow")

    def kept(self, blocks: Sequence[pa.Table], worker: type, **settings: Any) -> list[Any]:
        """References to the same; it stays where it was made."""
        with self._counted() as counter:
            return list(self._map(blocks, worker, settings, counter).materialize().to_arrow_refs())

    @contextmanager
    def _counted(self) -> Iterator[Any]:
        """One who counts attempts; what a worker told it is what went wrong."""
        counter = self.ray.remote(num_cpus=0)(Attempts).remote()
        with one_line():
            try:
                yield counter
            except Exception as error:
                raise (self.ray.get(counter.failure.remote()) or error) from None

    def _map(self, blocks: Sequence[pa.Table], worker: type, settings: dict[str, Any], counter: Any) -> Any:
        most = max(1, min(self.workers, len(blocks)))
        return self.ray.data.from_arrow(list(blocks)).map_batches(
            Careful, fn_constructor_kwargs={"worker": worker, "settings": self.put(settings), "attempts": counter},
            batch_size=None, batch_format="pyarrow", concurrency=(1, most, most), num_cpus=1,
            num_gpus=self.gpus or None,
        )  # fmt: skip

    def put(self, value: Any) -> Any:
        """A reference to a value that several tasks need."""
        return self.ray.put(value)

    def task(self, function: Callable[..., Any], *arguments: Any, gpus: int = 0) -> Any:
        """A reference to what a function gives that some worker runs; references among the arguments are followed."""
        return self.ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(function).remote(*arguments)

    def get(self, references: Any) -> Any:
        """The values behind references."""
        with one_line():
            return self.ray.get(references)


@contextmanager
def cluster(*, gpus: bool) -> Iterator[Cluster]:
    """The cluster that ``$RAY_ADDRESS`` names, or Ray on this machine for as long as this lasts."""
    with _environment():
        ray = _ray()
        with _connected(ray):
            context = ray.data.DataContext.get_current()
            context.enable_progress_bars = context.print_on_execution_start = False
            workers = int(ray.cluster_resources().get("GPU" if gpus else "CPU", 0))
            if not workers:
                kind = "GPU" if gpus else "processor"
                raise ClusterError(f"expected a cluster with a {kind}, got none: add machines or name --device cpu")
            yield Cluster(ray, workers, int(gpus))


@contextmanager
def _environment() -> Iterator[None]:
    new = {name: value for name, value in _QUIET.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)


@contextmanager
def _connected(ray: Any) -> Iterator[None]:
    if ray.is_initialized():  # whoever started it, in this process, goes on with it
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)  # Ray takes it, and would end with 1, which is a finding
    folder = None if os.environ.get(ADDRESS) else tempfile.mkdtemp(prefix="ray-")
    try:
        with one_line(), _silent():
            quiet: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
            if folder is None:
                ray.init(address="auto", **quiet)
            else:
                ray.init(address="local", include_dashboard=False, _temp_dir=folder, **quiet)
        _take_back(handler)
        with _unheard():
            yield
    finally:
        with _silent():
            ray.shutdown()
        _take_back(handler)
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def _ray() -> Any:
    try:
        with _silent():
            ray = importlib.import_module("ray")
            importlib.import_module("ray.data")
    except ImportError:
        raise MissingDependency(
            "--engine ray: expected Ray, which is not installed: pip install 'dataset-sanitizer[ray]'"
        ) from None
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return ray


@contextmanager
def _silent() -> Iterator[None]:
    """Ray warns of its own future, and its lower half writes past Python, where nobody asked."""
    with warnings.catch_warnings(), Path(os.devnull).open("wb") as nowhere:
        warnings.simplefilter("ignore")
        kept = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


@contextmanager
def _unheard() -> Iterator[None]:
    """What the machines have to say of dying workers goes to stdout, whatever Ray is told; there, answers are."""
    inner = importlib.import_module("ray._private.worker")
    told = getattr(inner, "print_to_stdstream", None)
    if told is None:
        yield
        return
    inner.print_to_stdstream = lambda *said, **how: None  # type: ignore[attr-defined]
    try:
        yield
    finally:
        inner.print_to_stdstream = told  # type: ignore[attr-defined]


def _take_back(handler: Any) -> None:
    with suppress(ValueError, TypeError):  # only the main thread has signals, and only Python's handlers can be set
        signal.signal(signal.SIGTERM, handler)


@contextmanager
def one_line() -> Iterator[None]:
    """Errors of workers as what they were there, and errors of Ray as one line."""
    try:
        yield
    except SanitizerError:
        raise
    except Exception as error:
        raise _meant(error) from None


def _meant(error: BaseException) -> SanitizerError:
    for cause in _causes(error):
        if isinstance(cause, SanitizerError):
            return type(cause)(str(cause))
    said = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    what = f"{type(error).__name__}: {said[-1][:200]}"  # what came before is the way that it took
    return ClusterError(
        f"expected workers that finish, they died {RETRIES + 1} times or could not start ({what}): "
        "look at their memory, or use --engine local"
    )


def _causes(error: BaseException | None) -> Iterable[BaseException]:
    """An error and whatever it came of, innermost last."""
    while error is not None:
        yield error
        error = getattr(error, "cause", None) or error.__cause__
