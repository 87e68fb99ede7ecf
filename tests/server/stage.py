"""A stage for behaviours: engines that do what the test says, and a session without a socket or a clock."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from qwen_realtime import codec
from qwen_realtime import events as ev
from qwen_realtime.errors import RealtimeError
from qwen_realtime.protocol import Family, SessionState
from qwen_realtime.server.behaviours import BEHAVIOURS
from qwen_realtime.server.behaviours.host import Options
from qwen_realtime.server.engines.types import Domain, ListenResult, Reply, ToolCall, Translation, TurnDetection
from qwen_realtime.server.pacing import Lane
from qwen_realtime.server.record import SessionRecord
from qwen_realtime.settings.profiles import DEFAULT_MODELS, profile_of

SECONDS_A_LETTER = 0.06
LOUD = b"\x10\x20"


class StubSpeech:
    """A text being spoken; sound comes at once, or when the test calls :meth:`give`."""

    def __init__(
        self,
        text: str,
        how: dict[str, Any],
        on_audio: Callable[[bytes], None],
        on_done: Callable[[str | None], None],
    ) -> None:
        self.text = text
        self.how = how
        self._on_audio = on_audio
        self._on_done = on_done
        self.cancelled = False

    def give(self, seconds: float) -> None:
        """Make so much sound, in pieces of 100 ms."""
        samples = round(seconds * self.how["sample_rate"])
        step = self.how["sample_rate"] // 10
        for start in range(0, samples, step):
            if not self.cancelled:
                self._on_audio(LOUD * min(step, samples - start))

    def end(self, error: str | None = None) -> None:
        """Be done."""
        if not self.cancelled:
            self._on_done(error)

    def cancel(self) -> None:
        """Stop."""
        self.cancelled = True


class StubListener:
    """A listener that reports what the test says."""

    def __init__(self, asked: dict[str, Any], on_result: Callable[[ListenResult], None]) -> None:
        self.asked = asked
        self.report = on_result
        self.heard = b""
        self.orders: list[str] = []
        self.on_order: dict[str, Callable[[], None]] = {}
        self.fails = ""

    def feed(self, pcm: bytes) -> None:
        """Hear."""
        if self.fails:
            raise RealtimeError(self.fails)
        self.heard += pcm

    def _take(self, order: str) -> None:
        self.orders.append(order)
        self.on_order.get(order, lambda: None)()

    def commit(self) -> None:
        """End the utterance."""
        self._take("commit")

    def clear(self) -> None:
        """Forget."""
        self._take("clear")

    def finish(self) -> None:
        """End."""
        self._take("finish")

    def close(self) -> None:
        """Drop."""
        self._take("close")


@dataclass
class StubDialogue:
    """Answers from a table, and otherwise that it heard."""

    answers: dict[str, Reply] = field(default_factory=dict)
    asked: list[tuple[str, bool]] = field(default_factory=list)
    results: list[tuple[str, str]] = field(default_factory=list)

    def tool_result(self, call_id: str, name: str, output: str) -> None:
        """Take a result."""
        self.results.append((name, output))

    def reply(
        self, text: str, *, tools: Sequence[Mapping[str, Any]] = (), instructions: str = "", typed: bool = False
    ) -> Reply:
        """Answer."""
        self.asked.append((text, typed))
        if not text and self.results:
            told = " and ".join(f"{name} says {output}" for name, output in self.results)
            self.results.clear()
            return Reply(told)
        return self.answers.get(text, Reply(f"I heard {text or 'nothing'}."))


class StubEngines:
    """All engines. ``automatic`` speech is whole at once, otherwise the test gives it."""

    def __init__(self, *, automatic: bool = True) -> None:
        self.automatic = automatic
        self.speech: list[StubSpeech] = []
        self.listeners: list[StubListener] = []
        self.dialogues: list[StubDialogue] = []
        self.answers: dict[str, Reply] = {}
        self.translations: dict[str, str] = {}
        self.translated: list[str] = []

    @property
    def listener(self) -> StubListener:
        """The last one."""
        return self.listeners[-1]

    @property
    def spoken(self) -> list[str]:
        """All texts so far."""
        return [speech.text for speech in self.speech]

    def synthesize(
        self,
        text: str,
        *,
        voice: str = "",
        language: str = "auto",
        sample_rate: int = 24000,
        rate: float = 1.0,
        pitch: float = 1.0,
        volume: int = 50,
        on_audio: Callable[[bytes], None],
        on_done: Callable[[str | None], None],
    ) -> StubSpeech:
        """Speak."""
        how = {
            "voice": voice,
            "language": language,
            "sample_rate": sample_rate,
            "rate": rate,
            "pitch": pitch,
            "volume": volume,
        }
        speech = StubSpeech(text, how, on_audio, on_done)
        self.speech.append(speech)
        if self.automatic:
            speech.give(len(text) * SECONDS_A_LETTER)
            speech.end()
        return speech

    def listen(
        self,
        *,
        sample_rate: int,
        turn_detection: TurnDetection | None,
        language: str | None = None,
        hints: str = "",
        domain: Domain = "general",
        transcribe: bool = True,
        on_result: Callable[[ListenResult], None],
    ) -> StubListener:
        """Listen."""
        asked = {
            "sample_rate": sample_rate,
            "turn_detection": turn_detection,
            "language": language,
            "hints": hints,
            "domain": domain,
        }
        self.listeners.append(StubListener(asked, on_result))
        return self.listeners[-1]

    def translate(self, text: str, *, source: str, target: str) -> Translation:
        """Translate by the table, otherwise into capitals."""
        self.translated.append(text)
        return Translation(self.translations.get(text, text.upper()), "stub", rough=False)

    def dialogue(self, clock: Callable[[], datetime] | None = None) -> StubDialogue:
        """Begin to talk."""
        self.dialogues.append(StubDialogue(self.answers))
        return self.dialogues[-1]


class StubTimer:
    """Something for later."""

    def __init__(self, at: float, action: Callable[[], None]) -> None:
        self.at = at
        self.action: Callable[[], None] | None = action

    def cancel(self) -> None:
        """Never mind."""
        self.action = None


class Stage:
    """A behaviour on its stage. Time stands still unless :meth:`pass_time` is called.

    Args:
        family: which behaviour.
        model: its model; the family's default otherwise.
        engines: stub engines; automatic ones otherwise.
        pace: of the lane.
        options: of the server.
    """

    def __init__(
        self,
        family: Family,
        *,
        model: str = "",
        engines: StubEngines | None = None,
        pace: float = 0.0,
        options: Options | None = None,
    ) -> None:
        self.profile = profile_of(model or DEFAULT_MODELS[family])
        self.engines = engines or StubEngines()
        self.options = options or Options()
        self.state = SessionState(family)
        self.record = SessionRecord()
        self.lane = Lane(self.emit, pace)
        self.now = 1000.0
        self.room = math.inf  # events that the socket takes
        self.sent: list[ev.ServerEvent] = []
        self.closed: tuple[int, str] | None = None
        self.is_finished = False
        self._posted: list[Callable[[], None]] = []
        self._timers: list[StubTimer] = []
        self.behaviour = BEHAVIOURS[family](self)
        self.behaviour.start()

    # The Host protocol.

    def emit(self, event: ev.ServerEvent) -> None:
        """Keep what is sent, as a client decodes it."""
        self.state.advance(event)
        self.room -= 1
        self.sent.append(codec.decode_server(codec.encode(event, "event_test")))

    def post(self, action: Callable[[], None]) -> None:
        """Do it at the next :meth:`run`."""
        self._posted.append(action)

    def later(self, seconds: float, action: Callable[[], None]) -> StubTimer:
        """Do it when time has passed."""
        timer = StubTimer(self.now + seconds, action)
        self._timers.append(timer)
        return timer

    def close(self, code: int, reason: str = "") -> None:
        """Note it."""
        self.closed = (code, reason)

    def finished(self) -> None:
        """Note it."""
        self.is_finished = True

    # What tests do.

    def take(self, *events: ev.ClientEvent) -> list[ev.ServerEvent]:
        """Let client events come in, and return what that brought about."""
        before = len(self.sent)
        for event in events:
            self.behaviour.handle(event)
            self.run()
        return self.sent[before:]

    def update(self, **settings: Any) -> ev.ServerEvent:
        """Send a ``session.update`` and return its answer."""
        return self.take(ev.SessionUpdate(event_id="event_update", session=settings))[0]

    def hear(self, *results: ListenResult) -> list[ev.ServerEvent]:
        """Let the listener report, and return what that brought about."""
        before = len(self.sent)
        for result in results:
            self.engines.listener.report(result)
            self.run()
        return self.sent[before:]

    def run(self) -> None:
        """Do what was posted and let leave what is due."""
        while self._posted:
            self._posted.pop(0)()
            self.lane.release(self.now, lambda: self.room > 0)
        self.lane.release(self.now, lambda: self.room > 0)
        while self._posted:
            self.run()

    def pass_time(self, seconds: float) -> list[ev.ServerEvent]:
        """Let time pass in small steps."""
        before = len(self.sent)
        end = self.now + seconds
        while self.now < end - 1e-9:
            self.now = min(end, self.now + 0.01)
            for timer in [timer for timer in self._timers if timer.at <= self.now]:
                self._timers.remove(timer)
                if timer.action is not None:
                    timer.action()
            self.run()
        return self.sent[before:]

    @property
    def types(self) -> list[str]:
        """The types of what was sent, runs of the same type as one."""
        return types(self.sent)

    def all(self, kind: type[Any]) -> list[Any]:
        """What was sent of one class."""
        return [event for event in self.sent if type(event) is kind]

    @property
    def errors(self) -> list[ev.ErrorDetail]:
        """The errors sent."""
        return [event.error for event in self.all(ev.Error)]

    @property
    def sound(self) -> bytes:
        """All sound sent."""
        return b"".join(event.delta for event in self.all(ev.ResponseAudioDelta))


def types(events: Sequence[ev.Event]) -> list[str]:
    """The types of events, runs of the same type as one."""
    names: list[str] = []
    for event in events:
        if not names or names[-1] != event.type:
            names.append(event.type)
    return names


def message(text: str, role: str = "user") -> ev.ConversationItemCreate:
    """A typed message."""
    return ev.ConversationItemCreate(
        item={"type": "message", "role": role, "content": [{"type": "input_text", "text": text}]}
    )


def call(name: str, arguments: str = "{}") -> ToolCall:
    """A function call."""
    return ToolCall(name, arguments)


def append(seconds: float = 0.1, rate: int = 16000) -> ev.InputAudioBufferAppend:
    """Some sound."""
    return ev.InputAudioBufferAppend(audio=bytes(round(seconds * rate) * 2))
