"""The process that decodes what nobody vouches for: bytes come in, pixels or a reason go out.

``isolated.py`` starts it and is the other side. It sets its own limits, which the kernel holds it to: whoever is worked
on when it dies has killed it. Nothing heavy is imported, for each death costs a start.
"""

from __future__ import annotations

import resource
import signal
import struct
import sys
import threading
import time
from queue import SimpleQueue
from typing import BinaryIO

from sanitizer.sources.base import view_digest_of
from sanitizer.sources.decode import Limits, Refused, Unreadable, decode

#: What is said before anything else: all that is needed could be imported.
READY = b"ready\n"
#: Before each image: its length in bytes.
ASKED = struct.Struct("<Q")
#: Before each answer: SCANNED, UNREADABLE or REFUSED by its first letter, width, height, and the length of the text
#: that follows (a digest or a reason); after the text the pixels, if there are any.
ANSWER = struct.Struct("<cIII")

#: Seconds on the clock for each second of work: what sleeps for ever is stuck too.
_WALL = 30


def main() -> None:
    """Answer until nobody asks any more."""
    max_bytes, max_pixels, enough, seconds, memory = map(int, sys.argv[1:])
    limits = Limits(max_bytes=max_bytes, max_pixels=max_pixels, enough=enough or None)
    _confine(memory)
    replies = sys.stdout.buffer
    replies.write(READY)
    replies.flush()
    asked: SimpleQueue[bytes | None] = SimpleQueue()
    # Whoever asks may go on asking while it is answered: somebody has to listen all the time.
    threading.Thread(target=_listen, args=(sys.stdin.buffer, asked), daemon=True).start()
    while (content := asked.get()) is not None:
        _allow(seconds)
        _answer(content, limits, replies)


def _confine(memory: int) -> None:
    """No more memory than this, no files, no dumps, and deaf to the keyboard: whoever started it will end it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _allow(seconds: int) -> None:
    """So much work from now on; to overstay is to be killed by the kernel."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + 1 + seconds, hard))
    signal.setitimer(signal.ITIMER_REAL, seconds * _WALL)


def _listen(requests: BinaryIO, asked: SimpleQueue[bytes | None]) -> None:
    while len(head := requests.read(ASKED.size)) == ASKED.size:
        (length,) = ASKED.unpack(head)
        asked.put(requests.read(length))
    asked.put(None)


def _rest() -> None:
    """Nothing is worked on: to wait for a reader, or for the next question, is not to be stuck."""
    signal.setitimer(signal.ITIMER_REAL, 0)


def _answer(content: bytes, limits: Limits, replies: BinaryIO) -> None:
    try:
        pixels = decode(content, limits)
    except (Unreadable, Refused) as why:
        _rest()
        reason = str(why).encode()
        replies.write(ANSWER.pack(type(why).__name__[:1].encode(), 0, 0, len(reason)) + reason)
    else:
        _rest()
        height, width, _ = pixels.shape
        digest = bytes.fromhex(view_digest_of(pixels))
        replies.write(ANSWER.pack(b"S", width, height, len(digest)) + digest)
        replies.write(pixels.data.cast("B"))
    replies.flush()


if __name__ == "__main__":
    main()
