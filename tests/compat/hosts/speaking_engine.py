"""An application that speaks through an engine which keeps a connection warm."""

import asyncio
import io
import threading
import time
import wave

from backend.tts.qwen_realtime import QwenRealtimeTTS  # type: ignore[import-not-found]  # the program


def warmed(engine: QwenRealtimeTTS) -> bool:
    """Wait for the connection that waits."""
    deadline = time.monotonic() + 10
    while engine._ready_rt is None and time.monotonic() < deadline:
        threading.Event().wait(0.02)
    return engine._ready_rt is not None


engine = QwenRealtimeTTS()
engine.warm()
print(f"warm: {warmed(engine)}")
ready = engine._ready_rt
sound = asyncio.run(engine.synthesize("Good morning, everybody."))
with wave.open(io.BytesIO(sound)) as file:
    print(f"synthesized: {file.getnframes() / file.getframerate():.1f} s")
print(f"the warm connection was used and closed: {ready is not engine._ready_rt and not ready.ws.sock}")
print(f"warm again: {warmed(engine)}")
asyncio.run(engine.speak("How are you today?"))
print("spoken aloud")
stopper = threading.Timer(1.0, engine.stop)
stopper.start()
asyncio.run(engine.speak("One, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve, thirteen."))
print("stopped")
warmed(engine)
engine.close()
