"""The functions that one client's model may call: its calls are seen, run and answered.

Every call runs on a thread of its own, ``qwen-tool``. For each response that calls functions one more thread,
``qwen-tool-answers``, waits until the response is done and its calls are answered, sends the outputs in their order,
and asks for the reply. It may block on that wait and on sending; it is woken by each answer, by the server's events
and by the connection's end, with which it ends. A function that hangs is left to itself after its timeout: its thread,
a daemon, is the only one that can outlive the client.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .dispatch import PATIENCE_S
from .errors import ConfigError, RealtimeError
from .events import (
    UNSET,
    Event,
    ResponseCreated,
    ResponseDone,
    ResponseFunctionCallArgumentsDone,
    ResponseOutputItemDone,
    SessionCreated,
    UnsetType,
)
from .locks import Condition

if TYPE_CHECKING:
    from .families import OmniClient
    from .tools import Tool

__all__ = ["ToolBox"]

log = logging.getLogger("qwen_realtime")

# How long the user's own handlers have for a call that no registered function takes.
OTHERS_S = 30.0

# A response that ended so wants no reply to its calls: the server begins another by itself, or nobody wants any.
_BROKEN_OFF = ("incomplete", "cancelled")


@dataclass
class _Call:
    """One call of a response."""

    call_id: str
    name: str
    order: int
    due: float  # when it is given up, on time.monotonic()
    ours: bool  # a registered function answers it
    output: str | None = None  # once it is answered


@dataclass
class _Request:
    """One response and its calls."""

    calls: dict[str, _Call] = field(default_factory=dict)
    over: bool = False  # the response is done
    wants_reply: bool = True
    dropped: bool = False  # nobody waits for the answers any more
    answers: threading.Thread | None = None  # sends them; there is one once a registered function is called


class ToolBox:
    """The tools of one client: sees the model's calls, runs them, sends the answers."""

    def __init__(self, client: OmniClient) -> None:
        self._client = client
        self._tools: dict[str, Tool] = {}  # by name; whole entries are added and removed
        # Guards the requests and their calls, for a few assignments; notified whenever one of them changes.
        self._changed = Condition()
        self._requests: dict[str, _Request] = {}  # by response, until they are answered
        self._response_id = ""  # of the response that began last
        self._ended = False
        self._dropped: list[threading.Thread] = []  # that send answers no more

    @property
    def busy(self) -> bool:
        """Whether calls are not yet answered."""
        return any(request.answers is not None for request in list(self._requests.values()))

    def add(self, tool: Tool, declare: Callable[[dict[str, Any]], None]) -> None:
        """Register a tool, and declare it to the model.

        Raises:
            ConfigError: there is one of that name, or the declaration is refused.
        """
        if tool.name in self._tools:
            raise ConfigError(f"there is a tool {tool.name!r} already", hint="pass another name=")
        if not self._tools:
            self._client.tap(self._see)
        self._tools[tool.name] = tool  # before it is declared: a call may come at once
        try:
            declare(tool.declaration)
        except BaseException:
            del self._tools[tool.name]
            raise

    def answered(self, call_id: str) -> None:
        """A call has been answered by somebody else."""
        with self._changed:
            for request in self._requests.values():
                call = request.calls.get(call_id)
                if call is not None and call.output is None:
                    call.ours, call.output = False, ""
                    self._changed.notify_all()

    def end(self) -> None:
        """The connection is gone for good: let the threads that send answers end."""
        with self._changed:
            self._ended = True
            self._drop()

    def join(self, deadline: float) -> None:
        """Wait for the end of the threads that were dropped, at most until the deadline on ``time.monotonic()``."""
        for thread in self._dropped:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))

    def _drop(self) -> None:
        threads = [request.answers for request in self._requests.values() if request.answers is not None]
        self._dropped = [thread for thread in self._dropped if thread.is_alive()] + threads
        for request in self._requests.values():
            request.dropped = True
        self._requests = {}
        self._changed.notify_all()

    # On the receiving thread.

    def _see(self, event: Event) -> None:
        if isinstance(event, ResponseFunctionCallArgumentsDone):
            if event.name:  # where it is missing, the whole item follows
                self._called(event.response_id, event.output_index, event.call_id, event.name, event.arguments)
        elif isinstance(event, ResponseOutputItemDone):
            item = event.item
            if item.type == "function_call" and item.call_id and item.name:
                self._called(event.response_id, event.output_index, item.call_id, item.name, item.arguments or "")
            if event.response_id == self._response_id and not self._client.response_active:
                self._over(event.response_id, wants_reply=False)  # a response that is cancelled has no other end
        elif isinstance(event, ResponseCreated):
            self._response_id = event.response.id
            for response_id in list(self._requests):
                if response_id != event.response.id and not self._requests[response_id].over:
                    self._over(response_id, wants_reply=False)
        elif isinstance(event, ResponseDone):
            self._over(event.response.id, wants_reply=event.response.status not in _BROKEN_OFF)
        elif isinstance(event, SessionCreated):
            with self._changed:
                self._drop()  # after a break: the new session knows none of the calls

    def _called(self, response_id: str, index: int | UnsetType, call_id: str, name: str, arguments: str) -> None:
        tool = self._tools.get(name)
        with self._changed:
            request = self._requests.setdefault(response_id, _Request())
            if self._ended or call_id in request.calls:
                return
            order = len(request.calls) if index is UNSET else index
            due = time.monotonic() + (tool.timeout if tool is not None else OTHERS_S)
            call = request.calls[call_id] = _Call(call_id, name, order, due, ours=tool is not None)
            self._changed.notify_all()
            if tool is not None and request.answers is None:
                request.answers = threading.Thread(
                    target=self._answer, args=(response_id, request), name="qwen-tool-answers", daemon=True
                )
                request.answers.start()
        if tool is not None:
            threading.Thread(target=self._run, args=(tool, call, arguments), name="qwen-tool", daemon=True).start()

    def _over(self, response_id: str, *, wants_reply: bool) -> None:
        with self._changed:
            request = self._requests.get(response_id)
            if request is not None:
                request.over, request.wants_reply = True, wants_reply
                if request.answers is None:  # all of it is the user's own affair
                    del self._requests[response_id]
            self._changed.notify_all()

    # On qwen-tool.

    def _run(self, tool: Tool, call: _Call, arguments: str) -> None:
        try:
            given = tool.read(arguments)
        except ConfigError as error:
            log.warning("the tool %s was not called: %s", tool.name, error.message)
            self._ended_with(call, _error_output(error.message))
            return
        try:
            output = tool.call(given)
        except BaseException as error:  # also a tool's SystemExit
            log.error("the tool %s raised; the model is told, the session goes on", tool.name, exc_info=error)
            output = _error_output(f"{type(error).__name__}: {error}")
        self._ended_with(call, output)

    def _ended_with(self, call: _Call, output: str) -> None:
        with self._changed:
            late = call.output is not None
            if not late:
                call.output = output
                self._changed.notify_all()
        if late:
            log.warning("the tool %s ended after its timeout; its result is dropped", call.name)

    # On qwen-tool-answers.

    def _answer(self, response_id: str, request: _Request) -> None:
        try:
            if self._wait_for_answers(request) and self._wait_for_silence(request):
                self._send(request)
        except RealtimeError as error:
            log.warning("the outputs of tools could not be sent: %s", error)
        finally:
            with self._changed:
                self._requests.pop(response_id, None)

    def _wait_for_answers(self, request: _Request) -> bool:
        with self._changed:
            while not request.dropped:
                now = time.monotonic()
                waiting = [call for call in request.calls.values() if call.output is None]
                for call in waiting:
                    if call.due <= now:
                        self._give_up(call)
                left = [call.due - now for call in waiting if call.output is None]
                if request.over and not left:
                    return True
                self._changed.wait(min([PATIENCE_S, *left]))
        return False

    def _give_up(self, call: _Call) -> None:
        if call.ours:
            log.error("the tool %s has not ended in time; the model is told, the session goes on", call.name)
            call.output = _error_output(f"{call.name} did not answer in time")
        else:
            log.warning("nobody has answered the call of %s; going on without", call.name)
            call.output = ""

    def _wait_for_silence(self, request: _Request) -> bool:
        """Let a response that began meanwhile come to its end: the service takes no other before."""
        deadline = time.monotonic() + PATIENCE_S
        with self._changed:
            while self._client.owes_reply and not request.dropped and time.monotonic() < deadline:
                self._changed.wait(0.5)
            return not request.dropped

    def _send(self, request: _Request) -> None:
        for call in sorted(request.calls.values(), key=lambda each: each.order):
            if call.ours:
                self._client.send_tool_output(call.call_id, call.output or "")
        if request.wants_reply and not self._client.owes_reply:
            self._client.create_response()


def _error_output(message: str) -> str:
    return json.dumps({"error": message}, ensure_ascii=False)
