"""A virtual sound card: one private PulseAudio with a null sink as loudspeaker and another as microphone.

No hardware, no kernel module, no D-Bus and no system-wide server is involved. Debian and Ubuntu have the programs in
``pulseaudio pulseaudio-utils libasound2-plugins`` (and ``portaudio19-dev`` for PyAudio).

Facts found by measuring: the null sinks need ``norewinds=1``, or the first writes stall for about a second; and
``PULSE_LATENCY_MSEC`` must not be set.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from numpy.typing import NDArray
    from typing_extensions import Self

_PROGRAMS = ("pulseaudio", "pactl", "parec", "pacat")
_START_S = 10.0

# There is no rate converter called "none": opening `fixed` fails at every rate but the card's, as with bare hardware.
# It opens, but it does not play: PortAudio and this chain of plug-ins wait for each other.
_ASOUND = """\
</usr/share/alsa/alsa.conf>
pcm.!default {{ type pulse server "unix:{socket}" hint {{ show on description "virtual" }} }}
ctl.!default {{ type pulse server "unix:{socket}" }}
pcm.vspeaker {{ type pulse server "unix:{socket}" device "speaker" hint {{ show on description "speaker" }} }}
pcm.vmicrophone {{ type pulse server "unix:{socket}" device "microphone.monitor" hint {{ show on description "mic" }} }}
pcm.fixed {{
    type plug
    slave {{ pcm "default" rate {rate} channels 1 format S16_LE }}
    rate_converter "none"
    hint {{ show on description "one rate" }}
}}
"""

# The server reads commands from a pipe, and ends with whoever holds the other end, even after a SIGKILL.
_PULSE = """\
.fail
load-module module-cli exit_on_eof=1
load-module module-native-protocol-unix socket={socket} auth-anonymous=1
load-module module-null-sink sink_name=speaker format=s16le rate={rate} channels=1 norewinds=1
load-module module-null-sink sink_name=microphone format=s16le rate={rate} channels=1 norewinds=1
set-default-sink speaker
set-default-source {source}
"""


class VirtualAudio:
    """A running virtual sound card; made by ``virtual_audio``.

    Attributes:
        sample_rate: of both loudspeaker and microphone, in Hz.
        environment: what a program needs to use it, as environment variables.
    """

    def __init__(self, folder: Path, sample_rate: int, echo: bool) -> None:
        missing = [program for program in _PROGRAMS if shutil.which(program) is None]
        if missing:
            raise RuntimeError(
                f"no virtual sound card without {', '.join(missing)}: "
                "apt-get install -y pulseaudio pulseaudio-utils libasound2-plugins portaudio19-dev"
            )
        self.sample_rate = sample_rate
        self._folder = folder
        socket = folder / "native"
        (folder / "asound.conf").write_text(_ASOUND.format(socket=socket, rate=sample_rate))
        source = "speaker.monitor" if echo else "microphone.monitor"
        (folder / "pulse.pa").write_text(_PULSE.format(socket=socket, rate=sample_rate, source=source))
        self.environment = {
            "PULSE_SERVER": f"unix:{socket}",
            "PULSE_COOKIE": str(folder / "cookie"),
            "PULSE_STATE_PATH": str(folder),
            "PULSE_RUNTIME_PATH": str(folder),
            "ALSA_CONFIG_PATH": str(folder / "asound.conf"),
            "JACK_NO_START_SERVER": "1",
            "DBUS_SESSION_BUS_ADDRESS": "disabled:",
        }
        self._server = subprocess.Popen(
            [
                *("pulseaudio", "-n", "-F", str(folder / "pulse.pa")),
                *("--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1", "--disallow-exit"),
                *("--high-priority=yes", "--realtime=yes", f"--log-target=file:{folder / 'log'}"),
            ],
            env={**os.environ, **self.environment, "HOME": str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def wait_until_ready(self) -> None:
        """Wait until the server answers; raise its log if it does not within ten seconds."""
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and self._server.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                if self._run("pactl", "info", timeout=1.0) == 0:
                    return
            with suppress(subprocess.TimeoutExpired):
                self._server.wait(0.05)
        log = self._folder / "log"
        raise RuntimeError(f"pulseaudio did not start: {log.read_text() if log.exists() else 'no log'}")

    def record(self) -> Recording:
        """Start recording what is played on the loudspeaker; returns when the recorder runs."""
        return Recording(["parec", "--device=speaker.monitor", *self._format()], self._environment())

    def say(self, samples: NDArray[np.int16]) -> subprocess.Popen[bytes]:
        """Start playing int16 mono into the microphone; returns a process that ends when all of it was said."""
        path = self._folder / "said.raw"
        samples.astype("<i2").tofile(path)
        return subprocess.Popen(
            ["pacat", "--playback", "--device=microphone", *self._format(), str(path)], env=self._environment()
        )

    def stop(self) -> None:
        """End the server, hard: whoever uses the sound card loses it."""
        assert self._server.stdin is not None
        self._server.terminate()
        self._server.stdin.close()
        try:
            self._server.wait(3.0)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait(3.0)

    def _format(self) -> list[str]:
        return ["--raw", "--format=s16le", "--channels=1", f"--rate={self.sample_rate}"]

    def _environment(self) -> dict[str, str]:
        return {**os.environ, **self.environment}

    def _run(self, *command: str, timeout: float) -> int:
        quiet = subprocess.DEVNULL
        return subprocess.run(
            command, env=self._environment(), stdout=quiet, stderr=quiet, timeout=timeout, check=False
        ).returncode


class Recording:
    """A recording in progress; in ``with``, it ends at the end."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        # Guards the data; each piece notifies it.
        self._changed = threading.Condition()
        self._data = bytearray()
        self._ended = False
        self._thread = threading.Thread(target=self._collect, name="test-recording", daemon=True)
        self._thread.start()
        if not self.wait_for(1):
            raise RuntimeError("the recorder brought nothing for ten seconds")

    @property
    def samples(self) -> NDArray[np.int16]:
        """What was recorded so far."""
        with self._changed:
            return np.frombuffer(bytes(self._data[: len(self._data) // 2 * 2]), "<i2")

    def wait_for(self, count: int, timeout: float = 10.0) -> bool:
        """Wait until so many samples were recorded; return whether they came in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._ended or len(self._data) >= 2 * count, timeout)

    def wait_longer(self, seconds: float, sample_rate: int) -> None:
        """Record so much more, as counted in samples."""
        self.wait_for(len(self.samples) + round(seconds * sample_rate), timeout=seconds + 10.0)

    def stop(self) -> NDArray[np.int16]:
        """End the recording and return it."""
        self._process.terminate()
        self._process.wait(5.0)
        self._thread.join(5.0)
        return self.samples

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _collect(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as pipe:
            while piece := os.read(pipe.fileno(), 65536):
                with self._changed:
                    self._data += piece
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


@contextmanager
def virtual_audio(sample_rate: int = 24000, *, echo: bool = False) -> Iterator[VirtualAudio]:
    """Run a virtual sound card and point this process's environment at it, so that PyAudio finds it.

    Where it is allowed (as root), the card, the calling thread and all threads it starts run with priority: sound on
    a machine with other work is a matter of milliseconds, and sound servers do the same.

    Args:
        sample_rate: of loudspeaker and microphone, in Hz.
        echo: let the default microphone hear the loudspeaker.

    Raises:
        RuntimeError: the programs are missing, or the server does not start. Never a skipped test.
    """
    # Unix socket paths are short: not below pytest's own long folders.
    folder = Path(tempfile.mkdtemp(prefix="va-"))
    before: dict[str, str | None] = {}
    niceness = os.getpriority(os.PRIO_PROCESS, 0)
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, min(niceness, -15))
    try:
        card = VirtualAudio(folder, sample_rate, echo)
        before = {name: os.environ.get(name) for name in card.environment}
        try:
            card.wait_until_ready()
            os.environ.update(card.environment)
            yield card
        finally:
            card.stop()
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, niceness)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        shutil.rmtree(folder, ignore_errors=True)
