"""Decoding apart: the same answers in the same order, whatever becomes of the process that gives them."""

from __future__ import annotations

import io
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sanitizer.sources import cell, census, isolated
from sanitizer.sources.base import Pixels, Status, open_source
from sanitizer.sources.census import look_at, take_census
from sanitizer.sources.decode import LIMITS, Limits
from sanitizer.sources.encode import encode
from sanitizer.sources.facts import Fact
from sanitizer.sources.isolated import Decoder

NOISE = np.random.default_rng(0).integers(0, 256, (30, 20, 3), dtype=np.uint8)
CONTENTS = [encode(NOISE[:side], "PNG") for side in range(1, 25)] + [b"", b"no image", encode(NOISE, "JPEG")[:300]]
#: Something to do for seconds: padding between two segments is read byte by byte.
SLOW = (whole := encode(NOISE, "JPEG"))[:2] + b"\xff" * 12_000_000 + whole[2:]


@pytest.fixture
def apart() -> Iterator[Decoder]:
    """A decoder that gives each image one second."""
    decoder = Decoder(Limits(max_pixels=10_000_000), look_at, seconds=1)
    yield decoder
    decoder.close()


def answers(decoder: Decoder, contents: list[bytes]) -> list[tuple[Fact, Pixels | None]]:
    """What they come to, all sent before the first is received."""
    for content in contents:
        decoder.send(content)
    return [decoder.receive() for _ in contents]


def pid_of(decoder: Decoder) -> int:
    """The process of a decoder."""
    assert decoder._cell is not None
    return decoder._cell.pid


def test_apart_and_here_say_the_same(apart: Decoder) -> None:
    """Facts and pixels, in the order in which the images were sent; refusals too."""
    bomb = encode(np.zeros((1, 1, 3), np.uint8), "PNG").replace(b"\0\0\0\1\0\0\0\1\x08", b"\0\0\x80\0\0\0\x80\0\x08")
    contents = [*CONTENTS, bomb]
    for (fact, pixels), content in zip(answers(apart, contents), contents, strict=True):
        expected, here = look_at(content, apart.limits)
        assert fact == expected
        np.testing.assert_array_equal(pixels, here)
    assert apart.idle


def test_what_sticks_is_refused_and_the_rest_goes_on(apart: Decoder) -> None:
    """It is killed after its second, and those behind it are asked about once more."""
    facts = [fact for fact, _ in answers(apart, [CONTENTS[0], SLOW, *CONTENTS[1:4]])]
    assert [str(fact.status) for fact in facts] == ["scanned", "refused", "scanned", "scanned", "scanned"]
    assert facts[1].reason == "takes more than 1 seconds to decode"


@pytest.mark.parametrize(
    ("number", "reason"), [(signal.SIGSEGV, "crashes the decoder"), (signal.SIGKILL, "does not fit into memory")]
)
def test_what_kills_the_decoder_is_refused_and_the_rest_goes_on(
    apart: Decoder, number: signal.Signals, reason: str
) -> None:
    """One image, by the reason that can be told from the signal; the kernel kills where memory ends."""
    assert answers(apart, CONTENTS[:1])[0][0].status is Status.SCANNED
    apart.send(SLOW)
    apart.send(CONTENTS[1])
    os.kill(pid_of(apart), number)
    assert apart.receive() == (Fact(Status.REFUSED, reason), None)
    assert apart.receive()[0].status is Status.SCANNED


def test_waiting_is_not_being_stuck() -> None:
    """The clock runs while an image is decoded, and not until the next one comes, which may be hours later."""
    try:
        for content in (CONTENTS[0], b"no image"):
            signal.setitimer(signal.ITIMER_REAL, 60)
            cell._answer(content, LIMITS, io.BytesIO())
            assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def test_memory_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """An image that is allowed and does not fit is refused, and the process lives on."""
    monkeypatch.setattr(isolated, "MEMORY", 400 * 2**20)
    large = encode(np.zeros((7000, 7000, 3), np.uint8), "PNG")
    decoder = Decoder(LIMITS, look_at)
    (huge, _), (small, _) = answers(decoder, [large, CONTENTS[0]])
    decoder.close()
    assert huge == Fact(Status.REFUSED, "does not fit into memory")
    assert small.status is Status.SCANNED


def test_ordinary_images_start_no_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Reading them costs what it did before there was one."""
    monkeypatch.setattr(subprocess, "Popen", None)
    for number, content in enumerate(CONTENTS):
        (tmp_path / f"{number}.png").write_bytes(content)
    assert take_census(open_source(str(tmp_path))).counts[Status.SCANNED] == 24


def test_a_census_is_the_same_wherever_images_are_decoded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All apart, none apart, and every other one, with copies among them; others keep their order."""
    for number, content in enumerate(CONTENTS * 3):
        (tmp_path / f"{number:03}.png").write_bytes(content)
    source = open_source(str(tmp_path))
    here = take_census(source)
    for rule in (lambda content: True, lambda content: len(content) % 2 == 0):
        monkeypatch.setattr(census, "could_cost_too_much", rule)
        apart = take_census(source)
        assert (apart.samples, apart.others, apart.counts) == (here.samples, here.others, here.counts)
        np.testing.assert_array_equal(apart.views(8), here.views(8))


def test_large_images_and_jpegs_of_many_scans_are_decoded_apart() -> None:
    """They are the ones that can be minutes of work."""
    assert isolated.could_cost_too_much(bytes(2**20 + 1))
    assert isolated.could_cost_too_much(b"\xff\xd8" + b"\xff\xda" * 33)
    assert not isolated.could_cost_too_much(encode(NOISE, "JPEG"))


def test_a_process_is_used_again_and_never_one_with_work_left(apart: Decoder) -> None:
    """To start one takes longer than to decode an image."""
    limits = Limits(max_bytes=54321)
    with isolated.decoder(limits, look_at) as first:
        answers(first, CONTENTS[:1])
        process = pid_of(first)
    with isolated.decoder(limits, look_at) as second:
        assert pid_of(second) == process
        second.send(SLOW)
    with isolated.decoder(limits, look_at) as third:
        answers(third, CONTENTS[:1])
        assert pid_of(third) != process
    third.close()


def test_without_a_process_images_are_decoded_here_and_that_is_said(
    apart: Decoder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Once; an image is never called hostile because of the machine."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with caplog.at_level(logging.WARNING):
        facts = [fact for fact, _ in answers(apart, CONTENTS[:3])]
    assert [fact.status for fact in facts] == [Status.SCANNED] * 3
    assert len(caplog.records) == 1


def test_modules_in_the_current_folder_are_not_imported(
    apart: Decoder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A scan may be started inside the data, and the data may hold a PIL.py."""
    for name in ("PIL", "numpy", "sitecustomize", "sanitizer"):
        (tmp_path / f"{name}.py").write_text("import pathlib; pathlib.Path('canary').touch()")
    monkeypatch.chdir(tmp_path)
    assert answers(apart, CONTENTS[:1])[0][0].status is Status.SCANNED
    assert not (tmp_path / "canary").exists()


def test_the_process_ends_with_the_one_that_started_it() -> None:
    """Even if that is killed."""
    code = (
        "import os, signal\nfrom sanitizer.sources.census import look_at\n"
        "from sanitizer.sources.isolated import Decoder\n"
        "from sanitizer.sources.decode import LIMITS\ndecoder = Decoder(LIMITS, look_at)\ndecoder.send(b'x')\n"
        "decoder.receive()\nprint(decoder._cell.pid, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    cell = Path("/proc") / done.stdout.strip()
    for _ in range(100):
        if not cell.exists() or "Z" in (cell / "stat").read_text().rpartition(")")[2][:3]:
            return
        time.sleep(0.05)
    raise AssertionError("it is still there")
