"""Checks of the sound: PortAudio, the devices, and a second of tone from the loudspeaker to the microphone."""

from __future__ import annotations

import time
from typing import Any

from ..errors import AudioError
from .setup import Finding, Setup

__all__ = ["check_devices", "check_loopback", "check_portaudio"]

_TONE_HZ, _TONE_S = 440.0, 1.0


def check_portaudio(_setup: Setup) -> Finding:
    """Whether PyAudio is there, with its PortAudio."""
    from ..audio.devices import load_pyaudio

    try:
        version = load_pyaudio().get_portaudio_version_text()
    except AudioError as error:
        return Finding("portaudio", "fail", error.message, f"{error.hint}; not needed for files")
    return Finding("portaudio", "ok", str(version).partition(",")[0])


def check_devices(setup: Setup) -> Finding:
    """Whether there is something to hear with and something to speak with."""
    from ..audio.devices import list_devices

    try:
        found = (setup.devices or list_devices)()
    except AudioError as error:
        return Finding("devices", "fail", error.message, error.hint or "restart the sound system")
    outputs = [each for each in found if each.default_output]
    inputs = [each for each in found if each.default_input]
    if not found:
        return Finding("devices", "fail", "no sound devices", "plug one in, or work with files (-o, WAV paths)")
    kinds = (("output", outputs), ("input", inputs))
    missing = [kind for kind, some in kinds if not some]
    named = ", ".join(f"{kind} {each.name} ({each.sample_rate} Hz)" for kind, some in kinds for each in some)
    if missing:
        what = f"no default {' and no default '.join(missing)}; {named or f'{len(found)} others'}"
        return Finding("devices", "warn", what, "choose one in the system's settings, or by number: --device")
    return Finding("devices", "ok", named)


def check_loopback(setup: Setup) -> Finding:
    """Whether the microphone hears a second of tone from the loudspeaker, and how loud."""
    import numpy as np

    from ..audio import AudioPlayer, Microphone

    times = np.arange(round(24000 * _TONE_S)) / 24000
    tone = (np.sin(2 * np.pi * _TONE_HZ * times) * 0.25 * 32767).astype(np.int16)
    try:
        with (
            Microphone(16000, device=setup.input_device, source=setup.source) as microphone,
            AudioPlayer(24000, device=setup.output_device, output=setup.output) as player,
        ):
            player.write(tone)
            heard = bytearray()
            deadline = time.monotonic() + 5.0
            while len(heard) < 16000 * 2 * (_TONE_S + 0.5) and time.monotonic() < deadline:
                block = microphone.read(timeout=0.5)
                if block is None:
                    break
                heard += block
    except AudioError as error:
        return Finding("loop-back", "fail", error.message, error.hint or "choose another with --device, --microphone")
    samples = np.frombuffer(bytes(heard), np.int16).astype(np.float64) / 32768
    return _judge_sound(*_levels(samples))


def _levels(samples: Any) -> tuple[float, float]:
    """How loud all of it is, and how loud the tone in it, in dB of full scale; −inf for silence."""
    import numpy as np

    if not len(samples) or not np.any(samples):
        return float("-inf"), float("-inf")
    times = np.arange(len(samples)) / 16000
    amplitude = 2 * abs(np.mean(samples * np.exp(-2j * np.pi * _TONE_HZ * times)))
    rms = float(np.sqrt(np.mean(samples**2)))
    return 20 * float(np.log10(rms)), 20 * float(np.log10(max(amplitude / 2**0.5, 1e-9)))


def _judge_sound(level: float, tone: float) -> Finding:
    if level == float("-inf"):
        remedy = "unmute the microphone, and allow this program to use it in the system's privacy settings"
        return Finding("loop-back", "fail", "the microphone brings digital silence", remedy)
    if tone > level - 10:
        return Finding("loop-back", "ok", f"the microphone hears the tone at {tone:.0f} dBFS")
    what = f"the microphone hears the room ({level:.0f} dBFS), but not the tone"
    return Finding("loop-back", "warn", what, "as it should be with headphones; otherwise turn up the loudspeaker")
