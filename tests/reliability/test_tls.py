"""TLS: read and written at once without a loss, verified by default, and the key never given to anybody else."""

from __future__ import annotations

import datetime
import json
import ssl
import subprocess
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
from ..proxy import Way
from .conftest import DUPLEX_S
from .duplex import PERIOD_S
from .tools import AT_ONCE


def test_both_ways_for_twenty_seconds(duplex: subprocess.Popen[str]) -> None:
    """Fifty messages a second each way on three connections of TLS 1.3 and 1.2: none is lost, nobody is stuck."""
    told, complaint = duplex.communicate(timeout=60)
    assert duplex.returncode == 0, complaint
    count = int(DUPLEX_S / PERIOD_S)
    outcomes = json.loads(told)
    assert sorted(outcome["tls"] for outcome in outcomes) == ["TLSv1.2", "TLSv1.3", "TLSv1.3"]
    for outcome in outcomes:
        assert (outcome["sent"], outcome["at_server"]) == (count, count)
        assert (outcome["by_server"], outcome["received"]) == (count, count)
        assert outcome["ends"] == ["client: "] or outcome["ends"][0].startswith("client")


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


def test_a_certificate_of_yesterday_is_refused(peers: Callable[..., Peer], authority: trustme.CA) -> None:
    """The error says that it has expired."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    yesterday = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)
    authority.issue_cert("127.0.0.1", not_after=yesterday).configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with pytest.raises(ConnectError, match="expired"):
        TTSClient(url=peers(tls=context).url, api_key="k", ssl_context=trusting).connect()


@pytest.mark.parametrize(
    "name", ["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "WEBSOCKET_CLIENT_CA_BUNDLE", "a folder"]
)
def test_an_authority_of_the_environment_is_trusted(
    peers: Callable[..., Peer],
    authority: trustme.CA,
    server_tls: ssl.SSLContext,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """The usual variables name it, by a file or by a folder of files with hashed names."""
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(bundle))
    if name in ("SSL_CERT_DIR", "a folder"):
        (bundle := tmp_path / "certificates").mkdir()
        subprocess.run(["openssl", "x509", "-in", "../authority.pem", "-out", "authority.pem"], cwd=bundle, check=True)
        subprocess.run(["openssl", "rehash", "."], cwd=bundle, check=True)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE" if name == "a folder" else name, str(bundle))
    with TTSClient(url=peers(tls=server_tls).url, api_key="k") as client:
        assert client.session_id


@pytest.mark.parametrize("holds", [None, "this is no certificate"])
def test_a_variable_that_leads_nowhere_is_named(
    peers: Callable[..., Peer],
    server_tls: ssl.SSLContext,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    holds: str | None,
) -> None:
    """Rather than to leave the user with a certificate that is not accepted."""
    path = tmp_path / "authority.pem"
    if holds is not None:
        path.write_text(holds, encoding="utf-8")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(path))
    with pytest.raises(ConnectError, match=r"authority\.pem") as caught:
        TTSClient(url=peers(tls=server_tls).url, api_key="k").connect()
    assert "REQUESTS_CA_BUNDLE" in caught.value.hint
    assert caught.value.phase == "tls"


@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent"])
def test_a_redirect_is_not_followed(peers: Callable[..., Peer], status: str) -> None:
    """The key stays here, even where the new place is our own."""
    visits: list[dict[str, str]] = []

    def other(link: Link) -> None:
        link.read_request()
        visits.append(link.headers)

    elsewhere = peers(other)
    moved = peers(lambda link: link.answer(status, b"", Location=elsewhere.url))
    with pytest.raises(HandshakeError, match="redirects") as caught:
        TTSClient(url=moved.url, api_key="k").connect()
    assert caught.value.status == int(status.split()[0])
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
    with LocalServer(engines=tones, tls=server_tls) as server:
        proxy = through(server.url, down=Way(cut_at=50_001), faulty=2)
        client = TTSClient(url=proxy.url, api_key="k", ssl_context=client_tls, reconnect=AT_ONCE)
        audio = bytearray()
        client.on("response.audio.delta", lambda event: audio.extend(event.delta))
        with client:
            client.append_text("A sentence that is long enough to be cut more than once, and then some.")
        assert proxy.connections == 3
        assert len(audio) > 50_000
