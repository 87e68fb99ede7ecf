"""Connecting: every way that it can fail names its phase, keeps its deadline and never shows the key."""

from __future__ import annotations

import json
import logging
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from qwen_realtime import TTSClient
from qwen_realtime.dialing import proxy_for
from qwen_realtime.endpoints import resolve
from qwen_realtime.errors import (
    AuthenticationError,
    ConfigError,
    ConnectError,
    ConnectionClosed,
    ConnectTimeout,
    HandshakeError,
    RateLimitError,
    RealtimeError,
)
from qwen_realtime.protocol import Family
from qwen_realtime.transport import _refused

from .peer import Link, created, frame, polite, serve

KEY = "sk-0123456789abcdef0123456789abcdef"

# What a refusal on loopback may take, with room for a busy machine; a deadline missed is seconds more.
QUICK_S = 2.0


def _failure(url: str, *, quick: bool = True, **options: Any) -> RealtimeError:
    """The error of connecting; checks that it came quickly, left the client closed and does not show the key."""
    client = TTSClient(url=url, api_key=KEY, **{"connect_timeout": 5.0, **options})
    began = time.monotonic()
    with pytest.raises(RealtimeError) as caught:
        client.connect()
    if quick:
        assert time.monotonic() - began < QUICK_S
    assert client.state.value == "closed"
    told = "".join(traceback.format_exception(caught.value)) + repr(client) + repr(client.close_info)
    assert KEY not in told
    with pytest.raises(ConnectionClosed):
        client.append_text("more")
    return caught.value


def _hang(link: Link) -> None:
    """Never answer."""
    link.stop.wait(20)


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that never accepts: its queue of connections is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = []
        for _ in range(4):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
            waiting.append(sock)
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        for sock in waiting:
            sock.close()


class TestNames:
    """Looking the host up."""

    def test_an_unknown_host_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The phase is ``dns``."""

        def unknown(*_: Any, **__: Any) -> Any:
            raise socket.gaierror(-2, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        error = _failure("wss://no-such-host.invalid/x")
        assert isinstance(error, ConnectError)
        assert error.phase == "dns"
        assert "no-such-host.invalid" in str(error)
        assert "Name or service not known" in str(error)

    @pytest.mark.parametrize("host", ["a" * 70 + ".example", "a..example"])
    def test_what_is_no_name_is_a_connect_error_too(self, host: str) -> None:
        """The system's lookup refuses it in another way than an unknown one."""
        error = _failure(f"wss://{host}/x")
        assert isinstance(error, ConnectError)
        assert (error.phase, isinstance(error, ConnectTimeout)) == ("dns", False)

    def test_a_lookup_that_hangs_ends_with_the_deadline(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The system's lookup knows no deadline; ours does."""
        release = threading.Event()

        def hanging(*_: Any, **__: Any) -> Any:
            release.wait(10)
            raise socket.gaierror(-3, "Temporary failure")

        monkeypatch.setattr(socket, "getaddrinfo", hanging)
        error = _failure("wss://slow.example/x", connect_timeout=0.2)
        release.set()
        assert isinstance(error, ConnectTimeout)
        assert error.phase == "dns"

    def test_a_machine_without_ipv6_goes_on_to_ipv4(
        self, monkeypatch: pytest.MonkeyPatch, peers: Callable[..., Any]
    ) -> None:
        """An address of a family that the machine does not have is skipped."""
        peer = peers()
        answers = [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", peer.port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", peer.port)),
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)
        real = socket.socket

        class WithoutIPv6(real):  # type: ignore[misc, valid-type]  # a class at run time
            def __init__(self, family: int = -1, *more: Any, **options: Any) -> None:
                if family == socket.AF_INET6:
                    raise OSError(97, "Address family not supported by protocol")
                super().__init__(family, *more, **options)

        monkeypatch.setattr(socket, "socket", WithoutIPv6)
        client = TTSClient(url=f"ws://localhost:{peer.port}/x", api_key="k")
        client.connect()
        client.close()

    def test_the_next_address_is_tried(self, monkeypatch: pytest.MonkeyPatch, peers: Callable[..., Any]) -> None:
        """The first may refuse."""
        peer = peers()
        with socket.create_server(("127.0.0.1", 0)) as closed:
            refusing = closed.getsockname()
        answers = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", each) for each in (refusing, ("127.0.0.1", peer.port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)
        client = TTSClient(url=f"ws://localhost:{peer.port}/x", api_key="k")
        client.connect()
        client.close()


class TestTcp:
    """Reaching the port."""

    def test_a_refused_connection_says_so_at_once(self) -> None:
        """With host, port and reason."""
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        error = _failure(f"ws://127.0.0.1:{port}/x")
        assert isinstance(error, ConnectError)
        assert error.phase == "tcp"
        assert f"127.0.0.1:{port}" in str(error)
        assert "refused" in str(error)

    def test_a_server_that_never_accepts_names_the_phase(self, silent: str) -> None:
        """And keeps the deadline."""
        error = _failure(f"ws://{silent}/x", connect_timeout=0.3)
        assert isinstance(error, ConnectTimeout)
        assert error.phase == "tcp"
        assert "0.3 s" in str(error)

    def test_closing_calls_it_off(self, silent: str) -> None:
        """``close()`` from another thread ends the attempt long before its deadline."""
        begun = threading.Event()

        def key() -> str:  # asked when connecting has begun
            begun.set()
            return KEY

        client = TTSClient(url=f"ws://{silent}/x", api_key=key, connect_timeout=30.0)
        failures: list[BaseException] = []

        def connect() -> None:
            try:
                client.connect()
            except ConnectError as error:
                failures.append(error)

        thread = threading.Thread(target=connect)
        thread.start()
        assert begun.wait(5)
        client.close()
        thread.join(QUICK_S)
        assert not thread.is_alive()
        assert "closed while connecting" in str(failures[0])
        assert client.state.value == "closed"


class TestTls:
    """Certificates."""

    def test_a_good_certificate_connects(
        self, peers: Callable[..., Any], server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
    ) -> None:
        """Through a context, or through the environment's certificate authorities."""
        peer = peers(polite, tls=server_tls)
        with TTSClient(url=peer.url, api_key="k", ssl_context=client_tls) as client:
            client.append_text("Hello.")
        assert "input_text_buffer.append" in peer.link().types

    @pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "WEBSOCKET_CLIENT_CA_BUNDLE"])
    def test_the_environment_may_name_the_authority(
        self,
        name: str,
        peers: Callable[..., Any],
        server_tls: ssl.SSLContext,
        authority: Any,
        tmp_path: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """As companies that open TLS set it up."""
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        monkeypatch.setenv(name, str(tmp_path / "ca.pem"))
        with TTSClient(url=peers(polite, tls=server_tls).url, api_key="k"):
            pass

    def test_an_unknown_authority_is_refused(self, peers: Callable[..., Any], server_tls: ssl.SSLContext) -> None:
        """Verification is on unless a context says otherwise."""
        error = _failure(peers(polite, tls=server_tls).url)
        assert isinstance(error, ConnectError)
        assert error.phase == "tls"
        assert "certificate" in str(error)
        assert "ssl_context" in error.hint

    def test_the_wrong_host_is_refused(
        self, peers: Callable[..., Any], authority: Any, client_tls: ssl.SSLContext
    ) -> None:
        """A good certificate of somebody else is none."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("other.example").configure_cert(context)
        error = _failure(peers(polite, tls=context).url, ssl_context=client_tls)
        assert isinstance(error, ConnectError)
        assert error.phase == "tls"
        assert "127.0.0.1" in str(error)

    def test_a_plain_port_is_no_tls_port(self, peers: Callable[..., Any]) -> None:
        """``wss`` to a server that speaks plain HTTP."""

        def plain(link: Link) -> None:
            link.sock.recv(1)
            link.raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        error = _failure(peers(plain).url.replace("ws://", "wss://"))
        assert isinstance(error, ConnectError)
        assert error.phase == "tls"

    def test_a_server_that_never_shakes_hands_names_the_phase(self, peers: Callable[..., Any]) -> None:
        """And keeps the deadline."""
        error = _failure(peers(_hang).url.replace("ws://", "wss://"), connect_timeout=0.3)
        assert isinstance(error, ConnectTimeout)
        assert error.phase == "tls"


class TestTheHandshake:
    """What the server may answer in place of a WebSocket."""

    @pytest.mark.parametrize("status", [401, 403])
    def test_a_refused_key_names_the_other_region(self, peers: Callable[..., Any], status: int) -> None:
        """The body is shown, unless it is the key that it shows."""
        body = b'{"message":"Incorrect API key provided: ' + KEY.encode() + b'"}'
        error = _failure(peers(lambda link: link.answer(f"{status} No", body)).url)
        assert isinstance(error, AuthenticationError)
        assert error.status == status
        assert "Incorrect API key provided: ***" in error.body
        assert "key" in error.hint

    def test_the_region_is_told_where_one_was_chosen(self) -> None:
        """A key of Beijing is refused in Singapore, and the hint knows it."""
        endpoint = resolve(
            family=Family.TTS, model="qwen3-tts-flash-realtime", url=None, region="intl", workspace=None, headers=None
        )
        assert "region='cn'" in _refused(endpoint, 401, {}, b"", KEY).hint

    @pytest.mark.parametrize(("told", "wait"), [("3", 3.0), ("0.5", 0.5), ("soon", None), ("-1", 0.0)])
    def test_too_many_requests_say_how_long_to_wait(
        self, peers: Callable[..., Any], told: str, wait: float | None
    ) -> None:
        """``retry_after`` in seconds, where the server says it in seconds."""
        error = _failure(peers(lambda link: link.answer("429 Too Many Requests", b"", Retry_After=told)).url)
        assert isinstance(error, RateLimitError)
        assert (error.status, error.retry_after) == (429, wait)

    @pytest.mark.parametrize("status", [200, 204, 400, 404, 500, 503])
    def test_any_other_status_is_told_with_its_body(self, peers: Callable[..., Any], status: int) -> None:
        """As a ``HandshakeError``."""
        error = _failure(peers(lambda link: link.answer(f"{status} Whatever", b"not here")).url)
        assert type(error) is HandshakeError
        assert (error.status, error.body, error.phase) == (status, "not here", "handshake")

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_a_redirect_is_not_followed(self, peers: Callable[..., Any], status: int) -> None:
        """The key would go to whoever the server names."""
        elsewhere = peers()
        error = _failure(peers(lambda link: link.answer(f"{status} Go", Location=elsewhere.url)).url)
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

        error = _failure(peers(pages).url)
        assert isinstance(error, AuthenticationError)
        assert error.body.startswith("xxx")

    def test_a_status_is_told_though_its_page_never_comes(self, peers: Callable[..., Any]) -> None:
        """What is known at the deadline is told."""

        def stalls(link: Link) -> None:
            link.read_request()
            link.raw(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 100\r\n\r\nhalf")
            link.stop.wait(20)

        error = _failure(peers(stalls).url, connect_timeout=0.3)
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

        assert isinstance(_failure(peers(other).url), HandshakeError)

    def test_a_header_without_end_is_cut_short(self, peers: Callable[..., Any]) -> None:
        """Not read until memory or time are used up."""

        def endless(link: Link) -> None:
            link.read_request()
            link.raw(b"HTTP/1.1 101 Switching Protocols\r\n")
            while not link.stop.is_set():
                link.raw(b"X-More: " + b"x" * 1000 + b"\r\n")

        error = _failure(peers(endless).url)
        assert isinstance(error, HandshakeError)
        assert "no end" in str(error)

    def test_a_server_that_never_answers_names_the_phase(self, peers: Callable[..., Any]) -> None:
        """And keeps the deadline."""
        error = _failure(peers(_hang).url, connect_timeout=0.3)
        assert isinstance(error, ConnectTimeout)
        assert error.phase == "handshake"

    def test_a_server_that_resets_is_told(self, peers: Callable[..., Any]) -> None:
        """Before any answer."""

        def resets(link: Link) -> None:
            link.read_request()
            link.reset()

        assert isinstance(_failure(peers(resets).url), HandshakeError)

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


class TestProxies:
    """HTTP proxies with CONNECT."""

    def test_the_way_leads_through_the_proxy(
        self,
        proxies: Callable[..., Any],
        peers: Callable[..., Any],
        server_tls: ssl.SSLContext,
        client_tls: ssl.SSLContext,
    ) -> None:
        """With its user name and password; TLS is spoken with the server, not with the proxy."""
        proxy, peer = proxies(), peers(polite, tls=server_tls)
        via = proxy.url.replace("://", "://me:p%40ss@")
        with TTSClient(url=peer.url, api_key=KEY, proxy=via, ssl_context=client_tls) as client:
            client.append_text("Hello.")
        target, headers = proxy.requests[0]
        assert target == f"127.0.0.1:{peer.port}"
        assert headers["proxy-authorization"] == "Basic bWU6cEBzcw=="
        assert "authorization" not in headers
        assert "input_text_buffer.append" in peer.link().types

    @pytest.mark.parametrize(
        ("behaviour", "told"), [("refuse", "407"), ("hang up", "hung up"), ("reset", "no way through")]
    )
    def test_a_proxy_that_refuses_is_told(
        self, proxies: Callable[..., Any], peers: Callable[..., Any], behaviour: str, told: str
    ) -> None:
        """The phase is ``proxy``, and its password is not shown."""
        proxy = proxies(behaviour)
        error = _failure(peers().url, proxy=proxy.url.replace("://", "://me:hunter2@"))
        assert isinstance(error, ConnectError)
        assert error.phase == "proxy"
        assert told in str(error)
        assert "hunter2" not in str(error)

    def test_a_proxy_that_hangs_keeps_the_deadline(
        self, proxies: Callable[..., Any], peers: Callable[..., Any]
    ) -> None:
        """And is named."""
        error = _failure(peers().url, proxy=proxies("hang").url, connect_timeout=0.3)
        assert isinstance(error, ConnectTimeout)
        assert error.phase == "proxy"

    def test_a_proxy_that_is_not_there_is_told(self, peers: Callable[..., Any]) -> None:
        """The phase is ``proxy``, not ``tcp``."""
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        error = _failure(peers().url, proxy=f"127.0.0.1:{port}")
        assert isinstance(error, ConnectError)
        assert error.phase == "proxy"

    @pytest.mark.parametrize("proxy", ["https://proxy", "ftp://proxy", "http://", "http://proxy:99999", "http://[::1"])
    def test_what_is_no_proxy_is_a_config_error(self, peers: Callable[..., Any], proxy: str) -> None:
        """Of a kind that is not supported, or no URL at all."""
        assert isinstance(_failure(peers().url, proxy=proxy), ConfigError)

    def test_the_environment_names_one_but_not_for_this_machine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """``no_proxy`` names hosts and domains; ``""`` is none at all."""

        def via(host: str, proxy: str | None = None) -> str | None:
            endpoint = resolve(
                family=Family.TTS,
                model="qwen3-tts-flash-realtime",
                url=f"wss://{host}/x",
                region="intl",
                workspace=None,
                headers=None,
            )
            found = proxy_for(endpoint, proxy)
            return found.hostname if found else None

        monkeypatch.setenv("HTTPS_PROXY", "http://upper:1")
        assert via("example.com") == "upper"
        monkeypatch.setenv("https_proxy", "lower:2")
        assert via("example.com") == "lower"
        assert via("example.com", "given:3") == "given"
        assert via("example.com", "") is None
        assert via("localhost") is None
        assert via("127.0.0.1") is None
        monkeypatch.setenv("no_proxy", "a.example, .b.example")
        assert [via(host) for host in ("a.example", "x.b.example", "notb.example")] == [None, None, "lower"]
        monkeypatch.setenv("no_proxy", "*")
        assert via("example.com") is None


def test_the_key_is_in_no_log(
    peers: Callable[..., Any], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At any level, whether connecting fails or not."""
    caplog.set_level(logging.DEBUG)
    _failure(peers(lambda link: link.answer("500 Oops", KEY.encode())).url)
    with TTSClient(url=peers().url, api_key=KEY) as client:
        client.append_text("Hello.")
        assert KEY not in repr(client)
    assert KEY not in caplog.text
