"""The module in which the vendor's SDK defines these."""

from ...tts import AudioFormat, QwenTtsRealtime, QwenTtsRealtimeCallback

__all__ = ["AudioFormat", "QwenTtsRealtime", "QwenTtsRealtimeCallback"]
