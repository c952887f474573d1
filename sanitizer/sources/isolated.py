"""Decoding what could cost too much in a process of its own: there it costs one image and not the scan.

Parsing takes at most about a second for each megabyte, however it was made, so only what is larger can be minutes of
work; and a progressive JPEG can be, for each of its scans is a pass over all pixels. Everything else is for whoever
asks to decode itself: to send the pixels of ordinary images from process to process would take a third of the time to
decode them, or more.
"""

from __future__ import annotations

import atexit
import logging
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sanitizer.sources.base import Pixels, Status
from sanitizer.sources.cell import ANSWER, ASKED, READY
from sanitizer.sources.decode import Limits, scans_in
from sanitizer.sources.facts import Fact

#: What is larger is decoded apart. Photographs as they come from a camera are, what networks are trained on is not.
APART_BYTES = 2**20
#: So are JPEGs of more scans: encoders write about ten.
APART_SCANS = 32
#: Seconds of work that one image may take: the largest that is allowed takes two to four.
SECONDS = 10
#: Address space of the process: three times what the largest image needs.
MEMORY = 4 * 2**30

#: What bytes come to, and their pixels if they are an image; decoded in this very process.
LookAt = Callable[[bytes, Limits], tuple[Fact, Pixels | None]]

_STATUS = {letter: status for status in Status for letter in (str(status)[:1].upper().encode(),)}
_log = logging.getLogger(__name__)


@dataclass
class Decoder:
    """Images go in by ``send``; their fates come out by ``receive``, in the same order and whatever happens."""

    limits: Limits
    look_at: LookAt  # what to do where no process can be started
    seconds: int = field(default_factory=lambda: SECONDS)
    owner: int = field(default_factory=os.getpid)
    _unanswered: deque[bytes] = field(default_factory=deque)
    _waiting: int = 0
    _cell: subprocess.Popen[bytes] | None = None
    _helpless: bool = False  # no process could be started: decode here, as before there were any

    @property
    def waiting(self) -> int:
        """Bytes that were sent and not answered."""
        return self._waiting

    @property
    def idle(self) -> bool:
        """Whether everything was answered."""
        return not self._unanswered

    def send(self, content: bytes) -> None:
        """Have an image decoded, some time before it is received."""
        self._unanswered.append(content)
        self._waiting += len(content)
        self._ask(content)

    def receive(self) -> tuple[Fact, Pixels | None]:
        """What the first image that is not answered yet comes to, and its pixels if it is one."""
        content = self._unanswered.popleft()
        self._waiting -= len(content)
        if self._helpless:
            return self.look_at(content, self.limits)
        answer = self._read()
        if answer is not None:
            return answer
        reason = self._why_it_died()
        for other in self._unanswered:
            self._ask(other)
        return Fact(Status.REFUSED, reason), None

    def close(self) -> None:
        """End the process, whatever it does."""
        cell, self._cell = self._cell, None
        self._unanswered.clear()
        self._waiting = 0
        if cell is not None:
            cell.kill()
            _reap(cell)

    def _ask(self, content: bytes) -> None:
        if self._cell is None and not self._helpless:
            self._start()
        if self._cell is not None and self._cell.stdin is not None:
            with suppress(BrokenPipeError):  # it died over an earlier one: who receives that one will see
                self._cell.stdin.write(ASKED.pack(len(content)))
                self._cell.stdin.write(content)
                self._cell.stdin.flush()

    def _start(self) -> None:
        limits = (self.limits.max_bytes, self.limits.max_pixels, self.limits.enough or 0, self.seconds, MEMORY)
        home = str(Path(__file__).parents[2])  # where this package is, be it installed or not
        paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
        # One thread: each would take address space. A session of its own: the keyboard's signals are for the parent.
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OPENBLAS_NUM_THREADS": "1"}
        words = [sys.executable or "", "-P", "-m", "sanitizer.sources.cell", *map(str, limits)]
        try:
            self._cell = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env,
                start_new_session=True,
            )  # fmt: skip
            ready = self._cell.stdout is not None and self._cell.stdout.read(len(READY)) == READY
        except OSError:
            ready = False
        if not ready:
            _log.warning("cannot start a process to decode images in: a broken decoder would take this one with it")
            cell, self._cell, self._helpless = self._cell, None, True
            if cell is not None:
                cell.kill()
                _reap(cell)

    def _read(self) -> tuple[Fact, Pixels | None] | None:
        """The next answer; None if none will come any more."""
        if self._cell is None or self._cell.stdout is None:
            return None
        replies = self._cell.stdout
        head = replies.read(ANSWER.size)
        if len(head) < ANSWER.size:
            return None
        letter, width, height, length = ANSWER.unpack(head)
        text = replies.read(length)
        if letter != b"S":
            return (Fact(_STATUS[letter], text.decode()), None) if len(text) == length else None
        pixels = np.empty((height, width, 3), np.uint8)
        if replies.readinto(pixels.data.cast("B")) != pixels.nbytes:  # type: ignore[attr-defined]
            return None
        return Fact(Status.SCANNED, "", text.hex(), (width, height)), pixels

    def _why_it_died(self) -> str:
        cell, self._cell = self._cell, None
        code = _reap(cell) if cell is not None else 0
        if code in (-signal.SIGXCPU, -signal.SIGALRM):
            return f"takes more than {self.seconds} seconds to decode"
        return "does not fit into memory" if code == -signal.SIGKILL else "crashes the decoder"


def could_cost_too_much(content: bytes) -> bool:
    """Whether decoding these bytes could take minutes."""
    return len(content) > APART_BYTES or (content.startswith(b"\xff\xd8") and scans_in(content) > APART_SCANS)


_resting: list[Decoder] = []
_resting_lock = threading.Lock()


@contextmanager
def decoder(limits: Limits, look_at: LookAt) -> Iterator[Decoder]:
    """A decoder for a while; its process outlives the while, for the next one, if all was answered."""
    lent = _rested(limits) or Decoder(limits, look_at)
    try:
        yield lent
    finally:
        if lent.idle:
            with _resting_lock:
                _resting.append(lent)
        else:
            lent.close()


def _rested(limits: Limits) -> Decoder | None:
    with _resting_lock:
        for place, found in enumerate(_resting):
            # After a fork the pipes are shared with the parent: its decoders are not for us.
            if (found.limits, found.seconds, found.owner) == (limits, SECONDS, os.getpid()):
                return _resting.pop(place)
    return None


@atexit.register
def _close_all() -> None:
    with _resting_lock:
        for found in _resting:
            if found.owner == os.getpid():
                found.close()
        _resting.clear()


def _reap(cell: subprocess.Popen[bytes]) -> int:
    """What a process that has ended, or will now, ended with."""
    for pipe in (cell.stdin, cell.stdout):
        if pipe is not None:
            with suppress(OSError):  # what it was not told before it died
                pipe.close()
    return cell.wait()
