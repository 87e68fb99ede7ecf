"""What one session was sent and did, for tests to look at."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from ..events import ClientEvent

__all__ = ["SessionRecord"]


@dataclass
class SessionRecord:
    """Counters of one session. The session's thread writes them; reading them from another is safe and at worst early.

    Attributes:
        connection: 1 for the server's first connection.
        model: as in the URL.
        family: ``tts``, ``asr``, ``omni`` or ``livetranslate``.
        session_id: as in ``session.created``.
        headers: of the handshake, in lower case, without the key.
        received: the client's last 1000 events but those that carry sound or images.
        client_events: how many came, by type.
        server_events: how many were sent, by type.
        audio_bytes: of sound that came in.
        images: how many were accepted.
        image_bytes: of the accepted images.
        text_characters: of text that came in to be spoken.
        usage_tokens: total tokens of the last response.
        close_code: of the close frame that ended the connection; ``None`` while it is open and where it broke.
        open: whether the connection is open.
    """

    connection: int = 0
    model: str = ""
    family: str = ""
    session_id: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    received: deque[ClientEvent] = field(default_factory=lambda: deque(maxlen=1000))
    client_events: Counter[str] = field(default_factory=Counter)
    server_events: Counter[str] = field(default_factory=Counter)
    audio_bytes: int = 0
    images: int = 0
    image_bytes: int = 0
    text_characters: int = 0
    usage_tokens: int = 0
    close_code: int | None = None
    open: bool = True
