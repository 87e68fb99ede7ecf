"""Speech synthesis."""

from .qwen_tts_realtime import AudioFormat, QwenTtsRealtime, QwenTtsRealtimeCallback

__all__ = ["AudioFormat", "QwenTtsRealtime", "QwenTtsRealtimeCallback"]
