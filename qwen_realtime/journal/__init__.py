"""What was sent and not yet dealt with, so that a new connection can take it up: one journal per kind of family.

A journal is fed with what the client sends and with what the server answers, in order, and it says at a reconnection
what to send again. It does no I/O and has no lock: :class:`~.recovery.Recovery` guards it.

What it relies on: an utterance that is transcribed (ASR) or answered (LiveTranslate) has been dealt with up to its
``audio_end_ms``, or up to its commit in manual mode, and so have those before it; a response that is done has spoken
the text before the oldest commit, or all text where nothing was committed (TTS). Omni's turns are described in
:mod:`.conversation`.
"""

from __future__ import annotations

from ..protocol import Family
from .audio import AnswerJournal, AudioJournal
from .base import Journal
from .conversation import ConversationJournal
from .text import TextJournal

__all__ = ["AnswerJournal", "AudioJournal", "ConversationJournal", "Journal", "TextJournal", "journal_for"]


def journal_for(family: Family, kept_s: float) -> Journal:
    """The journal that a family needs.

    Args:
        family: the service.
        kept_s: how much input audio to keep at most, in seconds.
    """
    if family is Family.TTS:
        return TextJournal()
    kinds = {
        Family.ASR: AudioJournal,
        Family.LIVE_TRANSLATE: AnswerJournal,
        Family.OMNI: ConversationJournal,
    }
    return kinds[family](kept_s)
