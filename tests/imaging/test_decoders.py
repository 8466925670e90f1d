"""Decoders run in a process of their own: what it survives, how it ends, what it hands back."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diffrect.errors import InputError
from diffrect.imaging.decoders import guard, limits
from diffrect.imaging.decoders.guard import guarded
from diffrect.imaging.read import read_image
from support import decoders
from support.decoders import gone
from support.processes import environment

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX processes")
SCAN = Path("scan.dcm")


def ask(function: Callable[..., Any], *arguments: Any) -> Any:
    return guarded(SCAN, "a scan", function, *arguments)


def refusal(function: Callable[..., Any], *arguments: Any) -> str:
    with pytest.raises(InputError) as caught:
        ask(function, *arguments)
    return str(caught.value)


def test_one_process_serves_many_files_and_is_not_this_one() -> None:
    pid = ask(decoders.who)
    assert pid != os.getpid()
    assert [ask(decoders.who) for _ in range(3)] == [pid] * 3


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype=np.int16).reshape(2, 3, 4),
        np.asfortranarray(np.arange(24.0).reshape(2, 3, 4)),
        np.arange(24, dtype=np.uint8).reshape(2, 3, 4)[:, ::2],
        np.zeros((0, 3), np.float32),
        np.array(5),
        np.ones((1000, 1000)),
    ],
    ids=lambda array: f"{array.dtype.name} {array.shape}",
)
def test_arrays_come_back_as_they_are(array: np.ndarray) -> None:
    back = ask(decoders.echo, array)
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert np.array_equal(back, array)
    assert back.flags.f_contiguous or not array.flags.f_contiguous
    assert back.flags.writeable


@pytest.mark.parametrize(
    ("number", "how"),
    [
        (signal.SIGFPE, f"its pixel data end the decoder (signal {signal.SIGFPE:d})"),
        (signal.SIGKILL, "its decoder was killed, perhaps for lack of memory"),
    ],
)
def test_a_crash_is_a_line_and_costs_one_file(number: int, how: str) -> None:
    assert refusal(decoders.end_by_signal, number) == f"scan.dcm: expected a scan: {how}"
    assert ask(decoders.echo, np.ones(3)).sum() == 3


def test_a_decoder_that_leaves_is_a_line() -> None:
    assert refusal(decoders.end_with_code, 3).endswith("end the decoder (exit code 3)")


def test_a_process_that_was_killed_while_it_waited_is_replaced() -> None:
    os.kill(pid := ask(decoders.who), signal.SIGKILL)
    assert ask(decoders.who) != pid


def test_a_hang_in_c_is_a_line_and_the_process_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    pid = ask(decoders.who)
    monkeypatch.setattr(guard, "seconds_for", lambda amount: 0.1)
    monkeypatch.setattr(guard, "_TICK", 0.05)
    assert refusal(decoders.hang_in_c, 30).endswith("its decoder has not finished after 0 s")
    assert gone(pid)


def test_the_limit_grows_with_what_is_announced() -> None:
    assert limits.seconds_for(512 * 512 * 300) == pytest.approx(30 + 78.6, abs=0.1)
    assert limits.bytes_for(512 * 512 * 300) > 8 * 512 * 512 * 300


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux")
def test_memory_is_limited_by_what_is_announced() -> None:
    size = limits.FIXED_BYTES + 2**25
    assert "more memory than there is, or than its size explains" in refusal(
        decoders.allocate, size
    )
    assert ask(decoders.announce_and_allocate, size) == size


def test_a_fault_of_the_program_keeps_its_kind() -> None:
    """Whatever a decoder raises is about the file, but a result that cannot be sent is not."""
    assert refusal(decoders.fault_of_the_program) == "scan.dcm: expected a scan: no such thing"
    with pytest.raises((AttributeError, TypeError)):
        ask(threading.Lock)


def test_relative_names_follow_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(decoders.who)
    monkeypatch.chdir(tmp_path)
    assert ask(decoders.environment)[0] == str(tmp_path)


COMMAND = """
import sys
from pathlib import Path
from diffrect.distributed.signals import interrupt_on_sigterm
from diffrect.imaging.decoders.guard import guarded
from support import decoders
from support.decoders import gone
from support.processes import environment
try:
    with interrupt_on_sigterm():
        guarded(Path("scan"), "a scan", decoders.sleep_until, Path(sys.argv[1]))
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_a_command_that_sits_in_a_decoder_ends_at_once_and_takes_it_along(
    tmp_path: Path, number: int, code: int
) -> None:
    begun = tmp_path / "begun"
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(begun)], env=environment()
    ) as command:
        while not begun.exists() or not begun.read_text():
            assert command.poll() is None
            time.sleep(0.02)
        command.send_signal(number)
        assert command.wait(5) == code
    assert gone(int(begun.read_text()))


def test_a_png_whose_pixels_have_changed_is_refused(tmp_path: Path) -> None:
    """Its checksums say so, although some decoders show such pixels."""
    file = tmp_path / "a.png"
    pixels = np.random.default_rng(0).integers(0, 255, (40, 30), dtype=np.uint8)
    Image.fromarray(pixels).save(file, compress_level=0)
    assert np.array_equal(read_image(file).array[:, :, 0].T, pixels)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.png: expected a readable picture: broken PNG file"):
        read_image(file)
