"""Sound: samples, ring buffer, devices, player, microphone. Knows neither events nor sockets.

Importing this package imports neither numpy nor PyAudio: each name is loaded at its first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qwen_realtime.audio.bytes import OddByteCarry, pcm_bytes
    from qwen_realtime.audio.compressed import StreamDecoder, read_audio
    from qwen_realtime.audio.devices import Device, PyAudioInput, PyAudioOutput, list_devices
    from qwen_realtime.audio.fakes import ArrayInput, FileOutput, MemoryOutput, WavInput
    from qwen_realtime.audio.microphone import Microphone
    from qwen_realtime.audio.pcm import Resampler, mix_to_mono, resample, spread_mono, to_int16
    from qwen_realtime.audio.player import AudioPlayer
    from qwen_realtime.audio.ports import AudioInput, AudioOutput, DeviceFormat
    from qwen_realtime.audio.ring import RingBuffer
    from qwen_realtime.audio.schedule import Playout
    from qwen_realtime.audio.wav import Wav, WavWriter, read_wav, wav_bytes

_NAMES = {
    "bytes": ("OddByteCarry", "pcm_bytes"),
    "compressed": ("StreamDecoder", "read_audio"),
    "devices": ("Device", "PyAudioInput", "PyAudioOutput", "list_devices"),
    "fakes": ("ArrayInput", "FileOutput", "MemoryOutput", "WavInput"),
    "microphone": ("Microphone",),
    "pcm": ("Resampler", "mix_to_mono", "resample", "spread_mono", "to_int16"),
    "player": ("AudioPlayer",),
    "ports": ("AudioInput", "AudioOutput", "DeviceFormat"),
    "ring": ("RingBuffer",),
    "schedule": ("Playout",),
    "wav": ("Wav", "WavWriter", "read_wav", "wav_bytes"),
}
_HOME = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [
    "ArrayInput",
    "AudioInput",
    "AudioOutput",
    "AudioPlayer",
    "Device",
    "DeviceFormat",
    "FileOutput",
    "MemoryOutput",
    "Microphone",
    "OddByteCarry",
    "Playout",
    "PyAudioInput",
    "PyAudioOutput",
    "Resampler",
    "RingBuffer",
    "StreamDecoder",
    "Wav",
    "WavInput",
    "WavWriter",
    "list_devices",
    "mix_to_mono",
    "pcm_bytes",
    "read_audio",
    "read_wav",
    "resample",
    "spread_mono",
    "to_int16",
    "wav_bytes",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
