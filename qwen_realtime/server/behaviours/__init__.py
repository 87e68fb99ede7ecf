"""What the server does, family by family: client events and engine results in, server events out. No sockets."""

from __future__ import annotations

from ...protocol import Family
from .asr import ASRBehaviour
from .base import Behaviour
from .host import Host
from .livetranslate import LiveTranslateBehaviour
from .omni import OmniBehaviour
from .tts import TTSBehaviour

__all__ = ["BEHAVIOURS", "Behaviour", "Host"]

BEHAVIOURS: dict[Family, type[Behaviour]] = {
    Family.TTS: TTSBehaviour,
    Family.ASR: ASRBehaviour,
    Family.OMNI: OmniBehaviour,
    Family.LIVE_TRANSLATE: LiveTranslateBehaviour,
}
