"""Finding, naming and missing devices."""

from __future__ import annotations

import platform
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from qwen_realtime.audio import system
from qwen_realtime.audio.devices import PyAudioInput, PyAudioOutput, list_devices
from qwen_realtime.audio.player import AudioPlayer
from qwen_realtime.errors import DeviceError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.virtual_audio import VirtualAudio

WITHOUT_PYAUDIO = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name == "pyaudio":
            raise ModuleNotFoundError("No module named 'pyaudio'", name="pyaudio")
sys.meta_path.insert(0, Blocker())
from qwen_realtime.audio import AudioPlayer, MemoryOutput, Microphone, list_devices
from qwen_realtime.errors import AudioUnavailable
player, microphone = AudioPlayer(), Microphone()
for use in (player.start, player.__enter__, lambda: player.write(b"12"), microphone.start, microphone.read,
            lambda: next(iter(microphone)), list_devices):
    try:
        use()
    except AudioUnavailable as error:
        assert isinstance(error, ImportError)
        print(error.hint)
player.close(); microphone.close()
with AudioPlayer(output=MemoryOutput()) as other:
    other.write(b"12" * 100)
print(other.played_ms)
"""


def test_without_pyaudio_every_use_of_a_device_says_what_to_type() -> None:
    """Making a player is allowed, opening is not; the hint is an install line; stand-ins work as ever."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PYAUDIO], capture_output=True, text=True, timeout=60, check=True
    )
    *hints, played = done.stdout.splitlines()
    assert len(hints) == 7
    assert set(hints) == {system.install_line()}
    assert float(played) > 4
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "release", "wanted"),
    [
        ("Linux", {"ID": "debian"}, "apt-get install -y gcc python3-dev portaudio19-dev && "),
        ("Linux", {"ID": "ubuntu", "ID_LIKE": "debian"}, "apt-get install -y gcc python3-dev portaudio19-dev && "),
        ("Linux", {"ID": "fedora"}, "dnf install -y gcc python3-devel portaudio-devel && "),
        ("Linux", {"ID": "rocky", "ID_LIKE": "rhel centos fedora"}, "dnf install"),
        ("Linux", {"ID": "arch"}, "pacman -S"),
        ("Linux", {"ID": "opensuse-leap", "ID_LIKE": "suse opensuse"}, "zypper install"),
        ("Darwin", {}, "brew install portaudio && "),
        ("Windows", {}, "pip install pyaudio"),
    ],
)
def test_the_install_line_fits_the_system(
    monkeypatch: pytest.MonkeyPatch, name: str, release: dict[str, str], wanted: str
) -> None:
    """One line to paste into a shell, for each system its own package manager."""
    monkeypatch.setattr(platform, "system", lambda: name)
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: release)
    line = system.install_line()
    assert wanted in line
    assert line.endswith("-m pip install pyaudio")


def test_devices_are_listed(sound_card: VirtualAudio) -> None:
    """With name, channels and rate; one is the default for input and one for output."""
    devices = list_devices()
    assert {"default", "vspeaker", "vmicrophone"} <= {device.name for device in devices}
    assert sum(device.default_output for device in devices) == 1
    assert sum(device.default_input for device in devices) == 1
    assert all(device.host_api and device.sample_rate > 0 for device in devices)
    assert [device.index for device in devices] == list(range(len(devices)))


def test_a_device_is_chosen_by_index_or_part_of_its_name(sound_card: VirtualAudio) -> None:
    """In any case of letters."""
    speaker = next(device for device in list_devices() if device.name == "vspeaker")
    for wanted in (speaker.index, "vspeaker", "VSPEAK", None):
        output = PyAudioOutput(wanted)
        assert output.open(24000, 20).sample_rate == 24000
        output.close()
        output.close()


@pytest.mark.parametrize("wanted", ["no such thing", 999])
def test_a_wrong_device_is_named_with_what_there_is(sound_card: VirtualAudio, wanted: str | int) -> None:
    """For output and input alike."""
    for device in (PyAudioOutput(wanted), PyAudioInput(wanted)):
        with pytest.raises(DeviceError, match=str(wanted)) as caught:
            device.open(24000, 20)
        assert "vspeaker" in caught.value.hint


def test_without_a_sound_card_there_is_no_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A DeviceError that names the alternatives, from ``start`` and from ``drain``; nothing hangs."""
    (tmp_path / "asound.conf").write_text("</usr/share/alsa/alsa.conf>\n")
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(tmp_path / "asound.conf"))
    monkeypatch.setenv("PULSE_SERVER", "unix:/nowhere")
    player = AudioPlayer()
    with pytest.raises(DeviceError, match="there is no output device") as caught:
        player.start()
    assert "output=" in caught.value.hint
    player.close()
    player = AudioPlayer()
    player.write(bytes(9600))
    with pytest.raises(DeviceError, match="there is no output device"):
        player.drain(10)
    player.close()


def test_opening_devices_is_quiet(sound_card: VirtualAudio) -> None:
    """ALSA and JACK print nothing about plug-ins and servers that nobody asked for."""
    code = (
        "from qwen_realtime.audio import PyAudioOutput, list_devices\n"
        "list_devices(); output = PyAudioOutput(); output.open(24000, 20); output.close()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
