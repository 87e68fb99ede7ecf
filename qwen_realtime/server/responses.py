"""One response after another, event by event, in the order and the shapes of the recordings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import events as ev
from .ids import new_call_id, new_id, obfuscation

__all__ = ["ResponseWriter", "SpeechResponseWriter"]


class ResponseWriter:
    """Makes the events of one response of Omni or LiveTranslate.

    Args:
        modalities: ``["text"]`` or ``["text", "audio"]``.
        voice: as the session has it.
        output_audio_format: as the session spells it.
        conversation_id: of the session.
        names_conversation_at_once: LiveTranslate names it only in ``response.done``.
    """

    def __init__(
        self,
        *,
        modalities: Sequence[str],
        voice: str,
        output_audio_format: str | ev.UnsetType,
        conversation_id: str,
        names_conversation_at_once: bool = True,
    ) -> None:
        self.id = new_id("resp")
        self.item_id = ""
        self.text = ""  # written or spoken so far
        self.speaks = "audio" in modalities
        self._modalities = tuple(modalities)
        self._voice = voice
        self._format = output_audio_format
        self._conversation_id = conversation_id
        self._early_conversation_id = conversation_id if names_conversation_at_once else ""
        self._index = -1
        self._output: list[ev.Item] = []

    def created(self) -> ev.ServerEvent:
        """The response begins."""
        return ev.ResponseCreated(
            response=ev.Response(
                id=self.id,
                object="realtime.response",
                conversation_id=self._early_conversation_id,
                status="in_progress",
                modalities=self._modalities,
                voice=self._voice,
                output_audio_format=self._format,
                output=(),
            )
        )

    def open_message(self, previous_item_id: str | ev.UnsetType) -> list[ev.ServerEvent]:
        """A message begins, with one content part."""
        self.item_id = new_id("item")
        self._index += 1
        item = self._item("in_progress", content=())
        return [
            ev.ResponseOutputItemAdded(response_id=self.id, output_index=self._index, item=item),
            ev.ConversationItemCreated(previous_item_id=previous_item_id, item=item),
            ev.ResponseContentPartAdded(**self._part_ids(), part=ev.ContentPart(type=self._kind, text="")),
        ]

    def write(self, delta: str) -> ev.ServerEvent:
        """More text, as an increment (Omni)."""
        self.text += delta
        if self.speaks:
            return ev.ResponseAudioTranscriptDelta(**self._part_ids(), delta=delta)
        return ev.ResponseTextDelta(**self._part_ids(), delta=delta)

    def draft(self, text: str, stash: str) -> ev.ServerEvent:
        """The text so far as a whole, with a draft tail (LiveTranslate)."""
        self.text = text
        if self.speaks:
            return ev.ResponseAudioTranscriptText(**self._part_ids(), text=text, stash=stash)
        return ev.ResponseTextText(**self._part_ids(), text=text, stash=stash)

    def audio(self, sound: bytes) -> ev.ServerEvent:
        """More sound."""
        return ev.ResponseAudioDelta(**self._part_ids(), delta=sound)

    def end_content(self) -> list[ev.ServerEvent]:
        """The text and, if there is any, the sound are complete."""
        if self.speaks:
            return [
                ev.ResponseAudioTranscriptDone(**self._part_ids(), transcript=self.text),
                ev.ResponseAudioDone(**self._part_ids()),
            ]
        return [ev.ResponseTextDone(**self._part_ids(), text=self.text)]

    def end_message(self, status: str = "completed") -> list[ev.ServerEvent]:
        """The content part and the item are complete."""
        part = ev.ContentPart(type=self._kind, text=self.text)
        # The text recording has a bare type here, the page for sound has the text with it.
        shown = part if self.speaks else ev.ContentPart(type="text")
        final = (
            ev.ContentPart(type="audio", transcript=self.text)
            if self.speaks
            else ev.ContentPart(type="text", text=self.text)
        )
        self._output.append(self._item(status, content=(final,)))
        return [
            ev.ResponseContentPartDone(**self._part_ids(), part=part),
            ev.ResponseOutputItemDone(
                response_id=self.id, output_index=self._index, item=self._item(status, content=(shown,))
            ),
        ]

    def function_call(
        self, name: str, arguments: str, previous_item_id: str | ev.UnsetType
    ) -> tuple[str, list[ev.ServerEvent]]:
        """A whole function call: its ``call_id`` and its events; the first call has a delta, later ones have none."""
        self.item_id, call_id = new_id("item"), new_call_id()
        self._index += 1
        begun = ev.Item(
            id=self.item_id,
            object="realtime.item",
            type="function_call",
            status="in_progress",
            call_id=call_id,
            name=name,
            arguments="",
        )
        ended = ev.Item(
            id=self.item_id,
            object="realtime.item",
            type="function_call",
            status="completed",
            call_id=call_id,
            name=name,
            arguments=arguments,
        )
        self._output.append(ended)
        events: list[ev.ServerEvent] = [
            ev.ResponseOutputItemAdded(response_id=self.id, output_index=self._index, item=begun),
            ev.ConversationItemCreated(previous_item_id=previous_item_id, item=begun),
        ]
        ids: dict[str, Any] = {
            "response_id": self.id,
            "item_id": self.item_id,
            "output_index": self._index,
            "call_id": call_id,
        }
        if self._index == 0:
            events.append(ev.ResponseFunctionCallArgumentsDelta(**ids, delta=arguments, obfuscation=obfuscation()))
        events.append(ev.ResponseFunctionCallArgumentsDone(**ids, name=name, arguments=arguments))
        events.append(ev.ResponseOutputItemDone(response_id=self.id, output_index=self._index, item=ended))
        return call_id, events

    def done(self, status: str, usage: ev.Usage) -> ev.ServerEvent:
        """The response is over."""
        return ev.ResponseDone(
            response=ev.Response(
                id=self.id,
                object="realtime.response",
                conversation_id=self._conversation_id,
                status=status,
                modalities=self._modalities,
                voice=self._voice,
                output_audio_format=self._format,
                output=tuple(self._output),
                usage=usage,
            )
        )

    @property
    def _kind(self) -> str:
        return "audio" if self.speaks else "text"

    def _item(self, status: str, content: tuple[ev.ContentPart, ...] | ev.UnsetType) -> ev.Item:
        return ev.Item(
            id=self.item_id, object="realtime.item", type="message", status=status, role="assistant", content=content
        )

    def _part_ids(self) -> dict[str, Any]:
        return {"response_id": self.id, "item_id": self.item_id, "output_index": self._index, "content_index": 0}


class SpeechResponseWriter(ResponseWriter):
    """Makes the events of one response of TTS, which speaks without saying what."""

    def __init__(self, voice: str) -> None:
        super().__init__(modalities=("text", "audio"), voice=voice, output_audio_format=ev.UNSET, conversation_id="")

    def created(self) -> ev.ServerEvent:
        """The response begins; without modalities, as recorded."""
        return ev.ResponseCreated(
            response=ev.Response(
                id=self.id,
                object="realtime.response",
                conversation_id="",
                status="in_progress",
                voice=self._voice,
                output=(),
            )
        )

    def open_speech(self) -> list[ev.ServerEvent]:
        """The message begins; TTS has no conversation for it to appear in."""
        added, _, part = self.open_message(ev.UNSET)
        return [added, part]

    def end_speech(self, status: str, usage: ev.Usage) -> list[ev.ServerEvent]:
        """The sound, the part, the item and the response are complete, in the recorded order."""
        part_done, _ = self.end_message(status)
        cost = {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "total_tokens": usage.total_tokens,
            "input_tokens_details": usage.input_tokens_details,
            "output_tokens_details": usage.output_tokens_details,
        }
        item = ev.Item(
            id=self.item_id,
            object="realtime.item",
            type="message",
            status=status,
            role="assistant",
            output={"usage": cost},
        )
        return [
            ev.ResponseAudioDone(**self._part_ids()),
            part_done,
            ev.ResponseOutputItemDone(response_id=self.id, output_index=self._index, item=item),
            self.done(status, usage),
        ]
