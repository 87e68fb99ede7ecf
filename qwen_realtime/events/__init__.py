"""All events, typed: what the server sends, what the client sends, and what happens to the connection.

Every wire type has one class named after it: ``response.audio.delta`` is :class:`ResponseAudioDelta`. A type that no
class declares arrives as :class:`UnknownEvent`. Events are frozen; audio fields are ``bytes``; ``event.raw`` is the
message as a dict.
"""

from . import client, connection, server
from .base import *
from .client import *
from .connection import *
from .server import *

__all__ = (
    "UNSET",
    "ClientEvent",
    "ConnectionEvent",
    "Event",
    "ServerEvent",
    "UnknownEvent",
    "UnsetType",
    *client.__all__,
    *connection.__all__,
    *server.__all__,
)
