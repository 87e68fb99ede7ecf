"""What a server may answer in place of a WebSocket."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import pytest

from qwen_realtime.endpoints import resolve
from qwen_realtime.errors import AuthenticationError, ConnectTimeout, HandshakeError, RateLimitError
from qwen_realtime.handshake import _refused
from qwen_realtime.protocol import Family
from qwen_realtime.receiver import receive

from .failing import KEY, failure
from .peer import Link, created, frame, serve, silent


class TestTheHandshake:
    """What the server may answer in place of a WebSocket."""

    @pytest.mark.parametrize("status", [401, 403])
    def test_a_refused_key_names_the_other_region(self, peers: Callable[..., Any], status: int) -> None:
        """The body is shown, unless it is the key that it shows."""
        body = b'{"message":"Incorrect API key provided: ' + KEY.encode() + b'"}'
        error = failure(peers(lambda link: link.answer(f"{status} No", body)).url)
        assert isinstance(error, AuthenticationError)
        assert error.status == status
        assert "Incorrect API key provided: ***" in error.body
        assert "key" in error.hint

    @pytest.mark.parametrize(
        ("body", "told"),
        [
            (b'{"error": {"code": "x", "message": "No such model."}}', "HTTP 404: No such model."),
            (b'{"code": "x", "message": "No such model."}', "HTTP 404: No such model."),
            (b'{"error": "no"}', 'HTTP 404: {"error": "no"}'),
            (b"[1]", "HTTP 404: [1]"),
            (b"<html>", "HTTP 404: <html>"),
        ],
    )
    def test_a_message_inside_json_is_told_without_the_json(
        self, peers: Callable[..., Any], body: bytes, told: str
    ) -> None:
        """The body is kept as it came."""
        error = failure(peers(lambda link: link.answer("404 No", body)).url)
        assert error.message.endswith(told)
        assert error.body == body.decode()

    def test_the_region_is_told_where_one_was_chosen(self) -> None:
        """A key of Beijing is refused in Singapore, and the hint knows it."""
        endpoint = resolve(
            family=Family.TTS, model="qwen3-tts-flash-realtime", url=None, region="intl", workspace=None, headers=None
        )
        assert "region='cn'" in _refused(endpoint, 401, {}, b"", KEY).hint

    @pytest.mark.parametrize(
        ("told", "wait"),
        [("3", 3.0), ("0.5", 0.5), ("soon", None), ("-1", 0.0), ("inf", None), ("nan", None), ("1e20", 86400.0)],
    )
    def test_too_many_requests_say_how_long_to_wait(
        self, peers: Callable[..., Any], told: str, wait: float | None
    ) -> None:
        """``retry_after`` in seconds, where the server says it in seconds; nobody waits for more than a day."""
        error = failure(peers(lambda link: link.answer("429 Too Many Requests", b"", Retry_After=told)).url)
        assert isinstance(error, RateLimitError)
        assert (error.status, error.retry_after) == (429, wait)

    def test_until_when_to_wait_may_be_a_date(self, peers: Callable[..., Any]) -> None:
        """The other form that HTTP has; one that is past means now."""
        for told, least, most in ((formatdate(time.time() + 60, usegmt=True), 50, 60), (formatdate(0), 0, 0)):
            error = failure(peers(lambda link, told=told: link.answer("429 No", b"", Retry_After=told)).url)
            assert isinstance(error, RateLimitError)
            assert least <= (error.retry_after or 0) <= most

    @pytest.mark.parametrize("status", [200, 204, 400, 404, 500, 503])
    def test_any_other_status_is_told_with_its_body(self, peers: Callable[..., Any], status: int) -> None:
        """As a ``HandshakeError``."""
        error = failure(peers(lambda link: link.answer(f"{status} Whatever", b"not here")).url)
        assert type(error) is HandshakeError
        assert (error.status, error.body, error.phase) == (status, "not here", "handshake")
        assert ("later" if status >= 500 else "check the URL") in error.hint

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_a_redirect_is_not_followed(self, peers: Callable[..., Any], status: int) -> None:
        """The key would go to whoever the server names."""
        elsewhere = peers()
        error = failure(peers(lambda link: link.answer(f"{status} Go", Location=elsewhere.url)).url)
        assert type(error) is HandshakeError
        assert error.status == status
        assert elsewhere.url in str(error)
        assert not elsewhere._links

    @pytest.mark.parametrize("size", [20_000, 200_000])
    def test_a_status_is_told_however_long_its_page_is(self, peers: Callable[..., Any], size: int) -> None:
        """Firewalls answer with whole pages."""

        def pages(link: Link) -> None:
            link.read_request()
            link.raw(b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n" % size)
            for _ in range(size // 1000):
                link.raw(b"x" * 1000)

        error = failure(peers(pages).url)
        assert isinstance(error, AuthenticationError)
        assert error.body.startswith("xxx")

    def test_a_status_is_told_though_its_page_never_comes(self, peers: Callable[..., Any]) -> None:
        """What is known at the deadline is told."""

        def stalls(link: Link) -> None:
            link.read_request()
            link.raw(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 100\r\n\r\nhalf")
            link.stop.wait(20)

        error = failure(peers(stalls).url, connect_timeout=0.3)
        assert isinstance(error, AuthenticationError)
        assert error.body == "half"

    @pytest.mark.parametrize(
        "reply",
        [
            b"\r\n\r\n",
            b"SSH-2.0-OpenSSH_9.6\r\n",
            b"\x00\xff" * 200 + b"\r\n\r\n",
            b"HTTP/1.1\r\n\r\n",
            b"HTTP/1.1 abc\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
            b"HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: wrong\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nSet-Cookie: a@b=1; Domain=x\r\n\r\n",
            b"",
        ],
        ids=repr,
    )
    def test_what_is_no_websocket_server_is_a_handshake_error(self, peers: Callable[..., Any], reply: bytes) -> None:
        """Whatever it says, and when it hangs up."""

        def other(link: Link) -> None:
            link.read_request()
            link.raw(reply)

        assert isinstance(failure(peers(other).url), HandshakeError)

    def test_a_header_without_end_is_cut_short(self, peers: Callable[..., Any]) -> None:
        """Not read until memory or time are used up."""

        def endless(link: Link) -> None:
            link.read_request()
            link.raw(b"HTTP/1.1 101 Switching Protocols\r\n")
            while not link.stop.is_set():
                link.raw(b"X-More: " + b"x" * 1000 + b"\r\n")

        error = failure(peers(endless).url)
        assert isinstance(error, HandshakeError)
        assert "no end" in str(error)

    def test_a_server_that_never_answers_names_the_phase(self, peers: Callable[..., Any]) -> None:
        """And keeps the deadline."""
        error = failure(peers(silent).url, connect_timeout=0.3)
        assert isinstance(error, ConnectTimeout)
        assert error.phase == "handshake"

    def test_a_server_that_resets_is_told(self, peers: Callable[..., Any]) -> None:
        """Before any answer."""

        def resets(link: Link) -> None:
            link.read_request()
            link.reset()

        assert isinstance(failure(peers(resets).url), HandshakeError)

    def test_the_key_and_headers_are_sent(self, peers: Callable[..., Any], clients: Callable[..., Any]) -> None:
        """With the model in the path, and no ``Origin``."""
        peer = peers()
        clients(peer, headers={"X-More": "1"}, workspace="ws-1").connect()
        link = peer.link()
        assert link.path == "/api-ws/v1/realtime?model=qwen3-tts-flash-realtime"
        assert link.headers["authorization"] == "Bearer test-key"
        assert link.headers["x-more"] == "1"
        assert link.headers["x-dashscope-workspace"] == "ws-1"
        assert link.headers["user-agent"].startswith("qwen-realtime/")
        assert "origin" not in link.headers

    def test_no_message_in_the_same_segment_is_lost(
        self, peers: Callable[..., Any], clients: Callable[..., Any]
    ) -> None:
        """The first event may come with the handshake's last byte."""

        def hasty(link: Link) -> None:
            link.accept(frame(json.dumps(created()).encode()))
            serve(link)

        assert clients(peers(hasty)).connect().session_id == "sess_1"

    def test_no_byte_is_lost_that_the_key_might_begin_with(
        self, peers: Callable[..., Any], clients: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What has come is held back while it may be the beginning of the key, which must not be shown."""
        begun = threading.Event()

        def begin(source: Any) -> None:
            receive(source)
            begun.set()

        monkeypatch.setattr("qwen_realtime.connection.receive", begin)
        event = frame(json.dumps(created()).encode())
        cut = event.index(b"session") + 1
        assert event[:cut].endswith(b"s")

        def in_two(link: Link) -> None:
            link.accept(event[:cut])
            assert begun.wait(5)
            link.raw(event[cut:])
            serve(link)

        assert clients(peers(in_two), api_key="sk-0123456789").connect().session_id == "sess_1"
