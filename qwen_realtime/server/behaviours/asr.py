"""ASR: sound in, text out (reference, section 3)."""

from __future__ import annotations

from collections import deque
from typing import Any

from ... import events as ev
from ...protocol import Family
from ..engines.types import Failed, Final, Partial
from .hearing import HearingBehaviour
from .host import Host

__all__ = ["ASRBehaviour"]


class ASRBehaviour(HearingBehaviour):
    """One session of speech recognition."""

    family = Family.ASR
    names_faulty_event = True

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._previous_item_id: str | None = None
        self._awaited: deque[str] = deque()  # items that were committed and have no transcript yet
        self._draft = Partial("", "")  # of the sound that is not committed, in manual mode

    def updated_late(self, event: ev.SessionUpdate) -> None:  # noqa: ARG002 - any update does it
        """The service hangs up after the error."""
        self.host.close(1007, "Session update error")

    def partial(self, result: Partial) -> None:
        """Show the draft; in manual mode the item comes into being with the commit, so drafts before it are kept."""
        if not self.manual:
            self._show(self.item_id, result)
        elif self._awaited:
            self._show(self._awaited[0], result)
        else:
            self._draft = result

    def committed(self) -> None:
        """The utterance becomes an item."""
        self.host.emit(ev.InputAudioBufferCommitted(previous_item_id=self._previous_item_id, item_id=self.item_id))
        item = ev.Item(
            id=self.item_id,
            object="realtime.item",
            type="message",
            status="completed",
            role="user",
            content=(ev.ContentPart(type="input_audio", transcript=None),),
        )
        self.host.emit(ev.ConversationItemCreated(previous_item_id=self._previous_item_id, item=item))
        self._previous_item_id = self.item_id
        self._awaited.append(self.item_id)
        if self._draft.text or self._draft.stash:
            self._show(self.item_id, self._draft)
            self._draft = Partial("", "")

    def final(self, result: Final | Failed) -> None:
        """The transcript, or why there is none."""
        item_id = self._awaited.popleft() if self._awaited else self.item_id
        if not item_id and isinstance(result, Failed):
            self.engine_failed(result.message)
            return
        if isinstance(result, Failed):
            error = ev.ErrorDetail(code=result.code, message=result.message, param=None)
            self.host.emit(
                ev.ConversationItemInputAudioTranscriptionFailed(item_id=item_id, content_index=0, error=error)
            )
            return
        self.host.emit(
            ev.ConversationItemInputAudioTranscriptionCompleted(
                **self._ids(item_id, result.language), transcript=result.text
            )
        )

    def _show(self, item_id: str, draft: Partial) -> None:
        self.host.emit(
            ev.ConversationItemInputAudioTranscriptionText(
                **self._ids(item_id, self.source_language or "en"), text=draft.text, stash=draft.stash
            )
        )

    @staticmethod
    def _ids(item_id: str, language: str) -> dict[str, Any]:
        return {"item_id": item_id, "content_index": 0, "language": language, "emotion": "neutral"}
