"""An application around a module that interprets what the microphone hears; its other modules are stand-ins."""

import sys
import threading
import types
from collections.abc import Callable
from dataclasses import dataclass

import pyaudio


class MicrophoneRecorder:
    """Gives 100 ms of 16 kHz PCM at a time to a function, on a thread of its own."""

    def __init__(self, on_frame: Callable[[bytes], None], **_: object) -> None:
        self._on_frame = on_frame
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for it."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        audio = pyaudio.PyAudio()
        stream = audio.open(format=pyaudio.paInt16, channels=1, rate=16000, input=True, frames_per_buffer=1600)
        print("listening", flush=True)
        while not self._stopped.is_set():
            self._on_frame(stream.read(1600, exception_on_overflow=False))
        stream.close()
        audio.terminate()


@dataclass
class Settings:
    """The application's settings."""

    asr_model: str = "qwen3.5-livetranslate-flash-realtime"
    websocket_url: str | None = None
    dashscope_api_key: str | None = None
    max_end_silence: int = 800


MODULES: dict[str, dict[str, object]] = {
    "realtalk.audio": {},
    "realtalk.audio.recorder": {"MicrophoneRecorder": MicrophoneRecorder},
    "realtalk.config": {"Settings": Settings, "apply_to_dashscope": lambda _: None},
    "realtalk.languages": {"language_name": str},
}
for name, names in MODULES.items():
    module = types.ModuleType(name)
    vars(module).update(names)
    sys.modules[name] = module

from realtalk.core.qwen_listen import QwenLiveTranslateSession  # type: ignore[import-not-found]  # noqa: E402

final = threading.Event()


def tell(sentence: object) -> None:
    """Print a sentence, and note when one is final."""
    print(sentence, flush=True)
    if getattr(sentence, "is_final", False):
        final.set()


session = QwenLiveTranslateSession(Settings(), on_sentence=tell, on_state=print, on_error=print, target_language="es")
session.start()
final.wait(30)
session.stop()
print("stopped")
