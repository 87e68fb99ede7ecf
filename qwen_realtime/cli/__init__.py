"""The command line ``qwen-realtime``; one module per command, and what they share.

It needs the extra ``cli`` (click and rich). Nothing of the package imports it.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import Any

__all__ = ["main"]


def main() -> None:
    """Run the command line with the program's arguments and end the program with its status.

    Status 0 is success only; 1 a failure, told in one line on stderr; 2 a wrong use; 130 Ctrl-C.
    """
    before = _end_at_ctrl_c()
    _settle_streams()
    try:
        import click  # noqa: F401 - whether it is there is the question
        import rich  # noqa: F401
    except ImportError as error:
        print(f"qwen-realtime: the command line needs {error.name} (pip install 'qwen-realtime[cli]')", file=sys.stderr)
        sys.exit(1)
    from .app import run

    if before is not None:
        signal.signal(signal.SIGINT, before)
    sys.exit(run(sys.argv[1:]))


def _end_at_ctrl_c() -> Any:
    """Let Ctrl-C end the program at once while it is being loaded; the handler to put back, if there was Python's.

    An exception in the midst of somebody's import comes out as anything, with a traceback.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # as where a shell made it deaf
        return None
    return signal.signal(signal.SIGINT, lambda *_: os._exit(130))


def _settle_streams() -> None:
    """Have an stdin, where it was closed an empty one; and let no character of it, or that they lack, be an error."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115 - for as long as the program runs
    for stream, errors in ((sys.stdin, "replace"), (sys.stdout, "backslashreplace"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)
