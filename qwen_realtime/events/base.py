"""What every event has: a wire type, an id, and the message it came as.

Events are frozen values, declared once in :mod:`.server`, :mod:`.client` and :mod:`.connection`; the codec, the local
server, the handler registry and the tests read those declarations.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar, cast

import msgspec
from msgspec import UNSET, UnsetType

from ..errors import ProtocolError

__all__ = ["UNSET", "ClientEvent", "ConnectionEvent", "Event", "ServerEvent", "UnknownEvent", "UnsetType"]

# The key under which a decoded event keeps the text it came from. It lies in the instance dictionary, not in a field,
# so that it takes no part in equality, repr or encoding.
SOURCE = "source"


class Event(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """Base of all events.

    A field that the message did not have is ``UNSET`` (which is falsy), so that *absent* and ``null`` stay apart.
    """

    @property
    def type(self) -> str:
        """The wire type, such as ``"response.audio.delta"``."""
        return cast(str, type(self).__struct_config__.tag)

    @property
    def raw(self) -> dict[str, Any]:
        """The message as a dict, with the fields that no class declares.

        For an event that came over the wire this is the message itself, decoded again at each call (base64 still as
        text); for one made by you, its declared fields.

        Raises:
            ProtocolError: it is nested too deeply.
        """
        source = self.__dict__.get(SOURCE)
        if source is None:
            return cast("dict[str, Any]", msgspec.to_builtins(self))
        try:
            return cast("dict[str, Any]", msgspec.json.decode(source))
        except msgspec.MsgspecError:  # a field that no class declares has a number that is out of range
            return cast("dict[str, Any]", json.loads(source, strict=False))
        except RecursionError as error:  # decoding passes over what no class declares, and takes more of it
            raise ProtocolError(f"the message is nested too deeply to be shown: it begins {source[:60]!r}") from error


class ServerEvent(Event, frozen=True, kw_only=True, tag_field="type", tag=""):
    """An event that the server sends."""

    event_id: str | UnsetType = UNSET


class ClientEvent(Event, frozen=True, kw_only=True, tag_field="type", tag=""):
    """An event that the client sends; ``event_id`` is filled in when it is sent, unless you set one."""

    event_id: str | UnsetType = UNSET


class ConnectionEvent(Event, frozen=True, kw_only=True):
    """A fact about the connection itself; made by the client, never on the wire."""

    type_name: ClassVar[str] = ""

    @property
    def type(self) -> str:
        """The name under which handlers register, such as ``"disconnected"``."""
        return self.type_name

    @property
    def event_id(self) -> str | UnsetType:
        """``UNSET``: ids are for the wire."""
        return UNSET

    @property
    def raw(self) -> dict[str, Any]:
        """The fields as a dict, with the type; errors in words."""
        return {"type": self.type, **msgspec.to_builtins(self, enc_hook=str)}


class UnknownEvent(ServerEvent, frozen=True, kw_only=True):
    """A server event that no class declares, or one whose fields do not fit its class.

    ``raw`` holds the whole message; ``why`` says which of the two it is.
    """

    message: dict[str, Any]
    why: str = "not declared"

    @property
    def type(self) -> str:
        """The wire type as it came."""
        return cast(str, self.message["type"])

    @property
    def raw(self) -> dict[str, Any]:
        """The message as a dict."""
        return self.message
