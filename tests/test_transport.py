"""Frames in and out: what may come, what cannot be, and that the state stays true after it."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable
from typing import Any

import pytest

from qwen_realtime import TTSClient, events
from qwen_realtime.errors import ConnectionClosed, ProtocolError

from .peer import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Link, created, frame, read_and_write_at_once, serve

TEXT_EVENT = json.dumps({"type": "response.text.delta", "delta": "Grüß Gott 你好"}, ensure_ascii=False).encode()


class Watched:
    """A client whose events are recorded."""

    def __init__(self, client: TTSClient) -> None:
        self.client = client
        self.events: list[events.Event] = []
        self.threads: set[str] = set()
        client.on("*", self._take)

    def _take(self, event: events.Event) -> None:
        self.events.append(event)
        self.threads.add(threading.current_thread().name)

    @property
    def types(self) -> list[str]:
        """What was delivered, in order."""
        return [event.type for event in self.events]

    def end(self) -> events.CloseInfo:
        """Wait for the end; checks that it was told once, last, and the same everywhere."""
        info = self.client.wait(5)
        assert self.types.count("disconnected") == 1
        last = self.events[-1]
        assert isinstance(last, events.Disconnected)
        assert last.info is info
        assert self.client.close_info is info
        assert self.client.state.value == "closed"
        assert self.threads == {"qwen-dispatch"}
        with pytest.raises(ConnectionClosed):
            self.client.append_text("more")
        return info


@pytest.fixture
def after_greeting(peers: Callable[..., Any], clients: Callable[..., Any]) -> Callable[..., Watched]:
    """Connect a client to a peer that greets, runs a script, and then holds the line."""

    def connect(script: Callable[[Link], None], **options: Any) -> Watched:
        connected = threading.Event()

        def run(link: Link) -> None:
            link.accept()
            link.send(created())
            connected.wait(5)
            script(link)
            link.read_on()

        watched = Watched(clients(peers(run), **options))
        watched.client.connect()
        connected.set()
        return watched

    return connect


class TestGoodFrames:
    """Everything that RFC 6455 allows a server."""

    @pytest.mark.parametrize(
        "sent",
        [
            pytest.param(frame(TEXT_EVENT), id="whole"),
            pytest.param(
                frame(TEXT_EVENT[:1], fin=False) + frame(TEXT_EVENT[1:], CONTINUATION), id="cut within a character"
            ),
            pytest.param(
                frame(TEXT_EVENT[:9], fin=False)
                + frame(b"hello?", PING)
                + frame(TEXT_EVENT[9:30], CONTINUATION, fin=False)
                + frame(b"", PONG)
                + frame(TEXT_EVENT[30:], CONTINUATION),
                id="pings between",
            ),
            pytest.param(
                frame(b"", fin=False)
                + frame(b"", CONTINUATION, fin=False)
                + frame(TEXT_EVENT, CONTINUATION, fin=False)
                + frame(b"", CONTINUATION),
                id="empty pieces",
            ),
            pytest.param(b"".join(frame(bytes([byte]), CONTINUATION if at else TEXT, fin=at == len(TEXT_EVENT) - 1)
                                  for at, byte in enumerate(TEXT_EVENT)), id="byte by byte"),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("segment", [1, 7, 100_000])
    def test_a_message_arrives_however_it_is_cut(
        self, after_greeting: Callable[..., Watched], sent: bytes, segment: int
    ) -> None:
        """Into frames, and frames into segments."""

        def script(link: Link) -> None:
            for start in range(0, len(sent), segment):
                link.raw(sent[start : start + segment])
            link.close()

        watched = after_greeting(script)
        assert watched.end().clean
        delta = watched.events[-2]
        assert isinstance(delta, events.ResponseTextDelta)
        assert delta.delta == "Grüß Gott 你好"

    @pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 1_000_000])
    def test_every_length_of_frame_is_read(self, after_greeting: Callable[..., Watched], size: int) -> None:
        """Both ends of the three forms of the length."""
        text = "x" * size

        def script(link: Link) -> None:
            link.send("response.text.delta", delta=text)
            link.close()

        watched = after_greeting(script)
        watched.end()
        delta = watched.events[-2]
        assert isinstance(delta, events.ResponseTextDelta)
        assert delta.delta == text

    def test_pings_are_answered_with_what_they_carry(self, after_greeting: Callable[..., Watched]) -> None:
        """Also in the middle of a message."""
        links: list[Link] = []

        def script(link: Link) -> None:
            links.append(link)
            link.raw(frame(b"", PING) + frame(b"x" * 125, PING))
            assert [link.receive(), link.receive()] == [(PONG, b""), (PONG, b"x" * 125)]
            link.close()

        after_greeting(script).end()
        assert links

    @pytest.mark.parametrize(
        "flood", [frame(b"", PONG), frame(b"", CONTINUATION, fin=False)], ids=["pongs", "pieces of nothing"]
    )
    def test_a_flood_of_frames_keeps_no_other_session_waiting(
        self, peers: Callable[..., Any], clients: Callable[..., Any], flood: bytes
    ) -> None:
        """A session has its turn with so many frames, as it has with so many messages."""
        calm = threading.Event()

        def floods(link: Link) -> None:
            link.accept()
            link.send(created())
            link.receive_event("input_text_buffer.append")
            link.raw(frame(b"", TEXT, fin=False))
            while not calm.is_set():
                link.raw(flood * 20_000)
            link.raw(frame(TEXT_EVENT, CONTINUATION))
            link.read_on()

        loud, other = clients(peers(floods)).connect(), clients(peers()).connect()
        arrived = threading.Event()
        loud.on("response.text.delta", lambda _: arrived.set())
        loud.append_text("go")
        other.update_session(voice="Ethan")
        assert other.session["voice"] == "Ethan"
        calm.set()
        assert arrived.wait(20)

    def test_a_pong_that_nobody_asked_for_is_nothing(self, after_greeting: Callable[..., Watched]) -> None:
        """As RFC 6455 has it."""

        def script(link: Link) -> None:
            link.raw(frame(b"unasked", PONG))
            link.close()

        assert after_greeting(script).end().clean


@pytest.mark.parametrize("filler", ["", "x"])
def test_the_reason_of_a_close_is_cut_between_characters(after_greeting: Callable[..., Watched], filler: str) -> None:
    """A close frame holds 123 bytes of text, and half a character is none."""
    links: list[Link] = []

    def script(link: Link) -> None:
        links.append(link)
        link.text('{"type":"' + filler + '" ' + "é" * 200)

    after_greeting(script).end()
    assert links[0].wait_for_frame(CLOSE).payload[2:].decode().endswith("é")


BROKEN: dict[str, tuple[bytes, str]] = {
    "not JSON": (frame(b'{"type": "session'), "not JSON"),
    "no object": (frame(b"[]"), "not an event"),
    "no type": (frame(b"{}"), "not an event"),
    "an empty message": (frame(b""), "not JSON"),
    "invalid UTF-8": (frame(b'{"type":"error","x":"\xff"}'), "not UTF-8"),
    "binary": (frame(b"\x00\x01", BINARY), "binary frame"),
    "binary in pieces": (frame(b"\x00", BINARY, fin=False), "binary frame"),
    "masked": (frame(TEXT_EVENT, masked=True), "mask"),
    "reserved bits": (frame(TEXT_EVENT, rsv=4), "reserved bits"),
    "an unknown kind": (frame(b"", 0x3), "unknown kind 0x3"),
    "an unknown control frame": (frame(b"", 0xB), "unknown kind 0xb"),
    "a ping in pieces": (frame(b"", PING, fin=False), "in pieces"),
    "a ping that is too long": (frame(bytes(126), PING), "ping or pong of 126 bytes"),
    "a continuation of nothing": (frame(b"x", CONTINUATION), "out of order"),
    "a message within a message": (frame(b"{", fin=False) + frame(TEXT_EVENT), "out of order"),
    "over the limit": (frame(b"x" * 5000), "5000 bytes is over the limit of 4096"),
    "over the limit, announced only": (bytes([0x81, 127]) + (2**63).to_bytes(8, "big"), "over the limit"),
    "over the limit in pieces": (
        frame(b"x" * 3000, fin=False) + frame(b"x" * 3000, CONTINUATION, fin=False),
        "in pieces is over the limit",
    ),
    "an endless nesting": (frame(b'{"type":"x","a":' + b"[" * 3000), "not JSON"),
}


@pytest.mark.parametrize(("sent", "told"), BROKEN.values(), ids=BROKEN)
def test_what_cannot_be_ends_the_connection_with_a_protocol_error(
    after_greeting: Callable[..., Watched], sent: bytes, told: str
) -> None:
    """Once, typed, told to the server too, and raised where somebody waits."""
    links: list[Link] = []
    go = threading.Event()

    def script(link: Link) -> None:
        links.append(link)
        go.wait(5)
        link.raw(sent)

    watched = after_greeting(script, max_message_bytes=4096)
    with pytest.raises(ConnectionClosed, match=told) as caught, watched.client.expect("response.done", 5):
        go.set()
    assert isinstance(caught.value.__cause__, ProtocolError)
    info = watched.end()
    assert isinstance(info.error, ProtocolError)
    assert told in str(info.error)
    assert (info.by, info.clean, info.code) == ("client", False, 1002)
    assert links[0].wait_for_frame(CLOSE).payload[:2] == (1002).to_bytes(2, "big")


def test_events_before_a_broken_one_are_delivered(after_greeting: Callable[..., Watched]) -> None:
    """In order, and then the end."""

    def script(link: Link) -> None:
        link.raw(frame(TEXT_EVENT) * 3 + frame(b"garbage") + frame(TEXT_EVENT))

    watched = after_greeting(script)
    watched.end()
    assert watched.types[-4:] == ["response.text.delta"] * 3 + ["disconnected"]


def test_events_nobody_knows_do_not_end_anything(after_greeting: Callable[..., Watched]) -> None:
    """The service adds events without notice."""

    def script(link: Link) -> None:
        link.send("mcp_list_tools.in_progress", item_id="i")
        link.send("response.audio.delta", delta="%%%")
        link.close()

    watched = after_greeting(script)
    assert watched.end().clean
    assert [type(event) for event in watched.events[-3:-1]] == [events.UnknownEvent] * 2


class TestTheServersEnd:
    """However the server ends it."""

    @pytest.mark.parametrize(
        ("code", "reason", "clean"),
        [
            (1000, b"", True),
            (1000, b"bye", True),
            (1001, b"", False),
            (1007, b"The free tier of the model has been exhausted. " * 10, False),
            (1011, b"To many requests. \xff\xfe", False),
            (None, b"", False),
            (0, b"", False),
            (999, b"", False),
            (1005, b"", False),
            (65535, b"", False),
        ],
        ids=str,
    )
    def test_its_code_and_reason_are_told(
        self, after_greeting: Callable[..., Watched], code: int | None, reason: bytes, clean: bool
    ) -> None:
        """Also reasons that are too long, and codes that no server may send."""
        watched = after_greeting(lambda link: link.close(code, reason))
        info = watched.end()
        assert (info.code, info.by, info.clean) == (code, "server", clean)
        assert info.reason == reason.decode("utf-8", "replace")
        assert (info.error is None) is clean

    def test_its_close_frame_is_answered(self, after_greeting: Callable[..., Watched]) -> None:
        """With 1000."""
        links: list[Link] = []

        def script(link: Link) -> None:
            links.append(link)
            link.close(1001)

        after_greeting(script).end()
        assert links[0].wait_for_frame(CLOSE).payload[:2] == (1000).to_bytes(2, "big")

    def test_a_close_frame_of_one_byte_is_one_without_code(self, after_greeting: Callable[..., Watched]) -> None:
        """It cannot be, and it is an end all the same."""
        watched = after_greeting(lambda link: link.raw(frame(b"\x03", CLOSE)))
        assert watched.end().code is None

    @pytest.mark.parametrize("how", ["cut", "reset"])
    def test_a_lost_connection_is_the_networks(self, after_greeting: Callable[..., Watched], how: str) -> None:
        """No code, not clean, and an error."""
        watched = after_greeting(lambda link: getattr(link, how)())
        info = watched.end()
        assert (info.code, info.by, info.clean) == (None, "network", False)
        assert isinstance(info.error, ConnectionClosed)
        assert info.reason

    def test_a_connection_cut_within_a_frame_is_lost(self, after_greeting: Callable[..., Watched]) -> None:
        """Half a message is none."""

        def script(link: Link) -> None:
            link.raw(frame(TEXT_EVENT)[:-5])
            link.cut()

        watched = after_greeting(script)
        assert watched.end().by == "network"
        assert "response.text.delta" not in watched.types

    def test_a_close_frame_is_the_first_cause_though_writing_fails_after_it(
        self, after_greeting: Callable[..., Watched]
    ) -> None:
        """The reason that the server gave is not hidden by the broken pipe that follows."""
        release = threading.Event()

        def script(link: Link) -> None:
            link.close(1007, b"quota")
            link.reset()
            release.set()

        watched = after_greeting(script)
        assert release.wait(5)
        info = watched.end()
        assert (info.code, info.reason, info.by) == (1007, "quota", "server")


def test_control_characters_and_emoji_survive_the_way_out(
    peers: Callable[..., Any], clients: Callable[..., Any]
) -> None:
    """What was appended is what the server reads."""

    def echo(link: Link) -> None:
        link.accept()
        link.send(created())
        serve(link)

    peer = peers(echo)
    text = 'quote " backslash \\ line\nend tab\t 你好 🎙 \x00'
    client = clients(peer).connect()
    client.append_text(text)
    assert peer.link().wait_for("input_text_buffer.append")["text"] == text


def test_frames_of_many_senders_are_not_mixed(peers: Callable[..., Any], clients: Callable[..., Any]) -> None:
    """Four threads send: every message is whole, and each thread's are in order."""
    peer = peers()
    client = clients(peer).connect()
    go = threading.Barrier(4)

    def send(name: int) -> None:
        go.wait(5)
        for number in range(50):
            client.append_text(f"{name}:{number}:" + "x" * 3000)

    threads = [threading.Thread(target=send, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    peer.link().wait_for("input_text_buffer.append", 200)
    texts = [event["text"].split(":") for event in peer.link().events]
    for name in range(4):
        assert [int(number) for sender, number, _ in texts if sender == str(name)] == list(range(50))
    ids = [event["event_id"] for event in peer.link().events]
    assert len(set(ids)) == 200


def test_tls_is_read_and_written_at_once(
    peers: Callable[..., Any], clients: Callable[..., Any], server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """A thread that reads and one that writes share a TLS object: neither loses the connection or a byte."""
    count, size = 300, 20_000

    def both_ways(link: Link) -> None:
        read_and_write_at_once(link)
        link.accept()
        link.send(created())
        reading = threading.Thread(target=link.read_on)
        reading.start()
        for number in range(count):
            link.send("response.text.delta", delta=f"{number}:" + "x" * size)
        link.send("response.done", response={"id": "r"})
        reading.join(20)
        link.close()

    peer = peers(both_ways, tls=server_tls)
    client = clients(peer, ssl_context=client_tls)
    deltas: list[str] = []
    client.on("response.text.delta", lambda event: deltas.append(event.delta))
    done = threading.Event()
    client.on("response.done", lambda _: done.set())
    client.connect()
    for number in range(count):
        client.append_text(f"{number}:" + "y" * size)
    assert done.wait(20)
    peer.link().wait_for("input_text_buffer.append", count)
    assert [text.partition(":")[0] for text in deltas] == list(map(str, range(count)))
    assert all(len(event["text"].partition(":")[2]) == size for event in peer.link().events)
