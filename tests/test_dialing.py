"""Connecting: every way that it can fail names its phase, keeps its deadline and never shows the key."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from qwen_realtime import TTSClient
from qwen_realtime.dialing import proxy_for
from qwen_realtime.endpoints import resolve
from qwen_realtime.errors import (
    ConfigError,
    ConnectError,
    ConnectTimeout,
)
from qwen_realtime.protocol import Family

from .failing import KEY, QUICK_S, failure
from .peer import Link, polite, silent


@pytest.fixture
def full() -> Iterator[str]:
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
        error = failure("wss://no-such-host.invalid/x")
        assert isinstance(error, ConnectError)
        assert error.phase == "dns"
        assert "no-such-host.invalid" in str(error)
        assert "Name or service not known" in str(error)

    @pytest.mark.parametrize("host", ["a" * 70 + ".example", "a..example"])
    def test_what_is_no_name_is_a_connect_error_too(self, host: str) -> None:
        """The system's lookup refuses it in another way than an unknown one."""
        error = failure(f"wss://{host}/x")
        assert isinstance(error, ConnectError)
        assert (error.phase, isinstance(error, ConnectTimeout)) == ("dns", False)

    def test_a_lookup_that_hangs_ends_with_the_deadline(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The system's lookup knows no deadline; ours does."""
        release = threading.Event()

        def hanging(*_: Any, **__: Any) -> Any:
            release.wait(10)
            raise socket.gaierror(-3, "Temporary failure")

        monkeypatch.setattr(socket, "getaddrinfo", hanging)
        error = failure("wss://slow.example/x", connect_timeout=0.2)
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
        error = failure(f"ws://127.0.0.1:{port}/x")
        assert isinstance(error, ConnectError)
        assert error.phase == "tcp"
        assert f"127.0.0.1:{port}" in str(error)
        assert "refused" in str(error)

    def test_a_server_that_never_accepts_names_the_phase(self, full: str) -> None:
        """And keeps the deadline."""
        error = failure(f"ws://{full}/x", connect_timeout=0.3)
        assert isinstance(error, ConnectTimeout)
        assert error.phase == "tcp"
        assert "0.3 s" in str(error)

    def test_closing_calls_it_off(self, full: str) -> None:
        """``close()`` from another thread ends the attempt long before its deadline."""
        begun = threading.Event()

        def key() -> str:  # asked when connecting has begun
            begun.set()
            return KEY

        client = TTSClient(url=f"ws://{full}/x", api_key=key, connect_timeout=30.0)
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
        error = failure(peers(polite, tls=server_tls).url)
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
        error = failure(peers(polite, tls=context).url, ssl_context=client_tls)
        assert isinstance(error, ConnectError)
        assert error.phase == "tls"
        assert "127.0.0.1" in str(error)

    def test_a_plain_port_is_no_tls_port(self, peers: Callable[..., Any]) -> None:
        """``wss`` to a server that speaks plain HTTP."""

        def plain(link: Link) -> None:
            link.sock.recv(1)
            link.raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        error = failure(peers(plain).url.replace("ws://", "wss://"))
        assert isinstance(error, ConnectError)
        assert error.phase == "tls"

    def test_a_server_that_never_shakes_hands_names_the_phase(self, peers: Callable[..., Any]) -> None:
        """And keeps the deadline."""
        error = failure(peers(silent).url.replace("ws://", "wss://"), connect_timeout=0.3)
        assert isinstance(error, ConnectTimeout)
        assert error.phase == "tls"


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
        error = failure(peers().url, proxy=proxy.url.replace("://", "://me:hunter2@"))
        assert isinstance(error, ConnectError)
        assert error.phase == "proxy"
        assert told in str(error)
        assert "hunter2" not in str(error)

    def test_a_proxy_that_hangs_keeps_the_deadline(
        self, proxies: Callable[..., Any], peers: Callable[..., Any]
    ) -> None:
        """And is named."""
        error = failure(peers().url, proxy=proxies("hang").url, connect_timeout=0.3)
        assert isinstance(error, ConnectTimeout)
        assert error.phase == "proxy"

    def test_a_proxy_that_is_not_there_is_told(self, peers: Callable[..., Any]) -> None:
        """The phase is ``proxy``, not ``tcp``."""
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        error = failure(peers().url, proxy=f"127.0.0.1:{port}")
        assert isinstance(error, ConnectError)
        assert error.phase == "proxy"

    @pytest.mark.parametrize("proxy", ["https://proxy", "ftp://proxy", "http://", "http://proxy:99999", "http://[::1"])
    def test_what_is_no_proxy_is_a_config_error(self, peers: Callable[..., Any], proxy: str) -> None:
        """Of a kind that is not supported, or no URL at all."""
        assert isinstance(failure(peers().url, proxy=proxy), ConfigError)

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
    failure(peers(lambda link: link.answer("500 Oops", KEY.encode())).url)
    with TTSClient(url=peers().url, api_key=KEY) as client:
        client.append_text("Hello.")
        assert KEY not in repr(client)
    assert KEY not in caplog.text
