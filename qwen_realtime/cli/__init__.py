"""The command line ``qwen-realtime``; one module per command, and what they share.

It needs the extra ``cli`` (click and rich). Nothing of the package imports it.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line with the program's arguments and end the program with its status.

    Status 0 is success only; 1 a failure, told in one line on stderr; 2 a wrong use; 130 Ctrl-C.
    """
    try:
        import click  # noqa: F401 - whether it is there is the question
        import rich  # noqa: F401
    except ImportError as error:
        print(f"qwen-realtime: the command line needs {error.name} (pip install 'qwen-realtime[cli]')", file=sys.stderr)
        sys.exit(1)
    from .app import run

    sys.exit(run(sys.argv[1:]))
