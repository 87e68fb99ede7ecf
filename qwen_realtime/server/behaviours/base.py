"""What all four families do alike: settings, refusals, the end."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, ClassVar

from ... import events as ev
from ...protocol import Family, Phase
from ...settings.rules import at_path
from ..ids import new_id
from ..validation import created_session, echo, find_fault, merge
from .host import Host

__all__ = ["Behaviour", "Handlers"]

Handlers = dict[type[ev.ClientEvent], Callable[[Any], None]]

_STARTED = "Session update error: session already started or finished or failed."
_IMAGE_FIRST = "Error append image before append audio."
# What an event is nothing without; the pages mark these fields as required.
_REQUIRED: dict[type[ev.ClientEvent], str] = {
    ev.SessionUpdate: "session",
    ev.InputTextBufferAppend: "text",
    ev.InputAudioBufferAppend: "audio",
    ev.InputImageBufferAppend: "image",
    ev.ConversationItemCreate: "item",
}


class Behaviour:
    """One session's behaviour. Everything runs on the session's thread; only a worker's full pipe makes it block.

    Args:
        host: the session.
    """

    family: ClassVar[Family]
    # ASR alone names the client event at fault.
    names_faulty_event: ClassVar[bool] = False

    def __init__(self, host: Host) -> None:
        self.host = host
        self.session_id = new_id("sess")
        self.settings: dict[str, Any] = created_session(host.profile, self.session_id)
        self.handlers: Handlers = {ev.SessionUpdate: self.update, ev.SessionFinish: self.finish}

    # What the session calls.

    def start(self) -> None:
        """The connection is there."""
        self.host.emit(ev.SessionCreated(session=dict(self.settings)))

    def handle(self, event: ev.ClientEvent) -> None:
        """Deal with one client event."""
        if self.host.state.phase in (Phase.FINISHING, Phase.FINISHED):
            return  # a microphone is often late by a block or two
        refusal = self.host.state.refusal(type(event))
        if refusal:
            self.refuse(event, refusal)
            return
        field = _REQUIRED.get(type(event))
        if field and not getattr(event, field) and field not in event.raw:
            message = f"Missing required parameter: '{field}'."
            self.fail(event, message, code="missing_required_parameter", param=field)
            return
        self.host.state.advance(event)
        self.handlers[type(event)](event)

    def refuse_unknown(self, event: ev.UnknownEvent) -> None:
        """Say what is wrong with a message that is no client event."""
        if self.host.state.phase in (Phase.FINISHING, Phase.FINISHED):
            return
        if event.why == "not declared" or event.type not in ev.CLIENT_EVENTS:
            message = f"Invalid event type: '{event.type}'."
        elif "base64" in event.why:
            field = "image" if "image" in event.message else "audio"
            message = f"Illegal base64 character{_illegal_character(event.message.get(field))}"
        else:
            message = f"Invalid '{event.type}': {event.why}."
        event_id = event.message.get("event_id")
        self.fail(event, message, code="invalid_value", event_id=event_id if isinstance(event_id, str) else ev.UNSET)

    def stop(self) -> None:
        """The connection is gone: let go of the engines."""

    # What families refine.

    def refuse(self, event: ev.ClientEvent, why: str) -> None:
        """Say why an event cannot be taken now; ``why`` is the protocol table's own sentence."""
        if isinstance(event, ev.SessionUpdate):
            self.fail(event, _STARTED, code="invalid_value")
            self.updated_late(event)
        elif isinstance(event, ev.InputImageBufferAppend) and not self.host.state.audio_started:
            self.fail(event, _IMAGE_FIRST)
        else:
            self.fail(event, f"Invalid event type: '{event.type}'. {why[:1].upper()}{why[1:]}.", code="invalid_value")

    def updated_late(self, event: ev.SessionUpdate) -> None:
        """What follows the error for an update after input began."""

    def settings_changed(self) -> None:
        """The settings are new."""

    def end(self) -> None:
        """Input is over: bring out the rest, then call :meth:`finished`."""
        self.finished()

    # What families use.

    def update(self, event: ev.SessionUpdate) -> None:
        """Take over settings, all of them or none."""
        fault = find_fault(event.session, self.host.profile)
        if fault:
            self.fail(event, fault.message, code=fault.code, param=fault.param)
            return
        self.settings = merge(self.settings, event.session, self.host.profile)
        self.settings_changed()
        self.host.emit(ev.SessionUpdated(session=echo(self.settings, self.host.profile)))

    def finish(self, event: ev.SessionFinish) -> None:  # noqa: ARG002 - it has no fields
        """The client has no more input."""
        self.end()

    def finished(self) -> None:
        """Everything is out."""
        self.host.emit(ev.SessionFinished())
        self.host.finished()

    def fail(
        self,
        event: ev.ClientEvent | ev.UnknownEvent | None,
        message: str,
        *,
        kind: str | ev.UnsetType = "invalid_request_error",
        code: str | ev.UnsetType = ev.UNSET,
        param: str | ev.UnsetType = ev.UNSET,
        event_id: str | ev.UnsetType = ev.UNSET,
    ) -> None:
        """Send an ``error`` event."""
        named = event.event_id if isinstance(event, ev.ClientEvent) else event_id
        at_fault = named if self.names_faulty_event else ev.UNSET
        detail = ev.ErrorDetail(type=kind, code=code, message=message, param=param, event_id=at_fault)
        self.host.emit(ev.Error(error=detail))

    def engine_failed(self, why: str) -> None:
        """Say that an engine could not do its job."""
        self.fail(None, f"Local engine: {why}", kind="server_error", code="InternalError")

    def setting(self, path: str, default: Any = None) -> Any:
        """The setting at a dotted path."""
        value = at_path(self.settings, path)
        return default if value is None else value


def _illegal_character(text: Any) -> str:
    """The first character that base64 does not have, as the service names it: a blank and its code in hexadecimal."""
    found = re.search(r"[^A-Za-z0-9+/=]", text) if isinstance(text, str) else None
    return f" {ord(found[0]):x}" if found else ""
