"""TLS: read and written at once without a loss, verified by default, and the key never given to anybody else."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from qwen_realtime import TTSClient
from qwen_realtime.errors import ConnectError, HandshakeError
from qwen_realtime.notices import RealtimeWarning
from qwen_realtime.server import LocalServer
from qwen_realtime.server.engines import Engines

from ..peer import Link, Peer
from .duplex import PERIOD_S, measure


def test_both_ways_for_twenty_seconds() -> None:
    """Fifty messages a second each way on three connections: none is lost, nobody is stuck."""
    seconds = 20.0
    count = int(seconds / PERIOD_S)
    for outcome in measure(seconds, 3):
        assert (outcome.sent, outcome.at_server) == (count, count)
        assert (outcome.by_server, outcome.received) == (count, count)
        assert outcome.ends == ["client: "] or outcome.ends[0].startswith("client")


def test_an_unknown_authority_is_refused(peers: Callable[..., Peer], server_tls: ssl.SSLContext) -> None:
    """And the error says so."""
    with pytest.raises(ConnectError, match="certificate") as caught:
        TTSClient(url=peers(tls=server_tls).url, api_key="k").connect()
    assert caught.value.phase == "tls"
    assert "ssl_context" in caught.value.hint


def test_another_hosts_certificate_is_refused(peers: Callable[..., Peer], authority: trustme.CA) -> None:
    """Though the authority is known."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("elsewhere.example").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with pytest.raises(ConnectError, match=r"not valid for|mismatch"):
        TTSClient(url=peers(tls=context).url, api_key="k", ssl_context=trusting).connect()


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "WEBSOCKET_CLIENT_CA_BUNDLE"])
def test_an_authority_of_the_environment_is_trusted(
    tones: Engines,
    authority: trustme.CA,
    server_tls: ssl.SSLContext,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """The usual variables name it."""
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv(name, str(bundle))
    with (
        LocalServer(engines=tones, tls=server_tls) as server,
        TTSClient(url=server.url, api_key="k", mode="commit") as client,
    ):
        assert client.say("Hello.").pcm


def test_a_redirect_is_not_followed(peers: Callable[..., Peer]) -> None:
    """The key stays here, even where the new place is our own."""
    visits: list[dict[str, str]] = []

    def other(link: Link) -> None:
        link.read_request()
        visits.append(link.headers)

    elsewhere = peers(other)
    moved = peers(lambda link: link.answer("302 Found", b"", Location=elsewhere.url))
    with pytest.raises(HandshakeError, match="redirects") as caught:
        TTSClient(url=moved.url, api_key="k").connect()
    assert caught.value.status == 302
    assert visits == []


def test_plain_text_to_another_machine_is_warned_about() -> None:
    """To this one it is not."""
    with pytest.warns(RealtimeWarning, match="unencrypted"):
        TTSClient(url="ws://example.com/api-ws/v1/realtime", api_key="k")
    TTSClient(url="ws://127.0.0.1:1/api-ws/v1/realtime", api_key="k")


def test_a_cut_tls_connection_comes_back(
    tones: Engines,
    server_tls: ssl.SSLContext,
    client_tls: ssl.SSLContext,
    through: Callable[..., Any],
) -> None:
    """Cut in the middle of a record, as networks do."""
    from ..proxy import Way
    from .tools import AT_ONCE

    with LocalServer(engines=tones, tls=server_tls) as server:
        proxy = through(server.url, down=Way(cut_at=50_001), faulty=2)
        client = TTSClient(url=proxy.url, api_key="k", ssl_context=client_tls, reconnect=AT_ONCE)
        audio = bytearray()
        client.on("response.audio.delta", lambda event: audio.extend(event.delta))
        with client:
            client.append_text("A sentence that is long enough to be cut more than once, and then some.")
        assert proxy.connections == 3
        assert len(audio) > 50_000
