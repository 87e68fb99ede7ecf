"""The realtime classes of the vendor's SDK, ``dashscope`` 2.0.2, on top of the clients of this package.

An existing program changes its import lines and nothing else::

    import qwen_realtime.compat.dashscope as dashscope
    from qwen_realtime.compat.dashscope.audio.qwen_omni import OmniRealtimeCallback, OmniRealtimeConversation
    from qwen_realtime.compat.dashscope.audio.qwen_tts_realtime import QwenTtsRealtime, QwenTtsRealtimeCallback

What is sent is the same, byte for byte but for the event ids. What is better:

- ``connect()`` fails at once and says why; its errors are ``ConnectionError`` and ``TimeoutError`` both, so that old
  ``except`` clauses match. It returns when the session has been created.
- ``on_open`` runs before the first ``on_event``, on the thread that called ``connect()``. Everything else runs on one
  thread, never the one that reads the socket: a slow callback does not stop the connection.
- What ``get_session_id()`` and the like return is true inside ``on_event`` already, and a callback that raises loses
  nothing: it is logged, and the session goes on.
- ``on_close`` comes exactly once for each ``connect()``, with a code: 1000 after ``close()``, the server's own where
  it closed, 1006 where the connection broke or was never made.
- Every method works inside callbacks; ``close()`` before ``connect()`` is nothing; ``sys.exit()`` in ``on_close`` is
  logged and does no harm.

Models, voices and settings are passed on unchecked. :attr:`~.session.RealtimeSession.client` is the client of this
package underneath, for a player or typed handlers.

Attributes:
    api_key: the key for objects that are given none; until it is set, it reads as ``DASHSCOPE_API_KEY``.
"""

from __future__ import annotations

import os

from . import audio

__all__ = ["__version__", "api_key", "audio"]

# Of the SDK that this stands in for: programs compare it.
__version__ = "2.0.2"

api_key: str | None


def __getattr__(name: str) -> str | None:
    if name == "api_key":
        return os.environ.get("DASHSCOPE_API_KEY")
    raise AttributeError(
        f"module {__name__!r} has no attribute {name!r}: it stands in for the realtime classes only; "
        "for the rest, import the vendor's dashscope beside it"
    )
