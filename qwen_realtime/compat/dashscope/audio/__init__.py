"""The vendor's paths to the realtime classes."""

from . import qwen_omni, qwen_tts_realtime

__all__ = ["qwen_omni", "qwen_tts_realtime"]
