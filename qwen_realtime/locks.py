"""A condition whose lock Ctrl-C does not leave taken."""

from __future__ import annotations

import threading
from operator import attrgetter
from typing import TYPE_CHECKING

__all__ = ["Condition"]


class Condition(threading.Condition):
    """As ``threading``'s, for a lock that the main thread shares with others.

    Entering and leaving ``threading``'s own are Python functions: Ctrl-C between such a function and the lock's leaves
    the lock taken, and whoever wants it next waits for ever. Here ``with`` finds the lock's own, which are compiled.
    """

    if not TYPE_CHECKING:
        __enter__ = property(attrgetter("_lock.__enter__"))
        __exit__ = property(attrgetter("_lock.__exit__"))
