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

    def wait(self, timeout: float | None = None) -> bool:
        """Wait to be notified, for so many seconds; ``False`` where that did not come."""
        try:
            return super().wait(timeout)
        except BaseException:
            owned: bool = self._is_owned()  # type: ignore[attr-defined]
            if not owned:  # Ctrl-C came just after it was let go of: leaving ``with`` lets go of it again
                self.acquire()
            raise

    if not TYPE_CHECKING:
        __enter__ = property(attrgetter("_lock.__enter__"))
        __exit__ = property(attrgetter("_lock.__exit__"))
