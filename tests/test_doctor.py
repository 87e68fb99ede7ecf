"""The doctor: what is well, and ten set-ups that are not, each with its fault named and a remedy."""

from __future__ import annotations

import re
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
import trustme

from qwen_realtime.audio import ArrayInput, Device, MemoryOutput
from qwen_realtime.doctor import (
    Finding,
    Setup,
    check_clock,
    check_devices,
    check_dns,
    check_key,
    check_loopback,
    check_model,
    check_portaudio,
    check_proxy,
    check_region,
    check_session,
    check_tls,
    examine,
)
from qwen_realtime.server import LocalServer, NoPong, RateLimit, Reject, Silent

from .peer import Link

KEY = "sk-0123456789abcdef0123456789abcdef"
CARD = Device(0, "card", "ALSA", 2, 2, 48000, default_input=True, default_output=True)


@pytest.fixture
def server() -> Iterator[LocalServer]:
    """A server that takes one key."""
    with LocalServer(api_key=KEY) as server:
        yield server


@pytest.fixture
def other() -> Iterator[LocalServer]:
    """The server of another region, which takes another key."""
    with LocalServer(api_key="sk-another-key-of-another-region") as server:
        yield server


def _setup(server: LocalServer, **options: Any) -> Setup:
    url = server.url.replace("127.0.0.1", "localhost")
    return Setup(**{"key": KEY, "regions": {"intl": url}, "proxy": "", "timeout": 5.0, "with_sound": False, **options})


def _hears(samples: Any) -> dict[str, Any]:
    """Sound in place of a sound card."""
    return {"output": MemoryOutput(), "source": ArrayInput(samples, 16000, speed=None)}


TONE = (np.sin(2 * np.pi * 440 * np.arange(24000) / 16000) * 3000).astype(np.int16)


def test_a_sound_set_up_gives_no_failures(server: LocalServer) -> None:
    """Every check in its order, none with a remedy."""
    setup = _setup(server, devices=lambda: [CARD], with_sound=True, **_hears(TONE))
    findings = list(examine(setup))
    assert [finding.name for finding in findings] == [
        *("key", "model", "proxy", "dns", "tls", "clock", "region", "session", "portaudio", "devices", "loop-back")
    ]
    assert [finding for finding in findings if finding.status != "ok" or finding.remedy] == []


# The ten.


def test_1_a_wrong_key_is_refused_everywhere(server: LocalServer, other: LocalServer) -> None:
    """And says so, with the regions that were asked, and never shows the key."""
    setup = _setup(server, key="sk-wrong-wrong-wrong-wrong", regions={"intl": server.url, "cn": other.url})
    finding = check_region(setup)
    assert finding.status == "fail"
    assert "no region accepts the key; refused by intl, cn" in finding.what
    assert "copy the key again" in finding.remedy
    assert all("wrong-wrong-wrong" not in str(each) for each in examine(setup))


def test_2_a_key_of_the_other_region_is_told_where_it_belongs(server: LocalServer, other: LocalServer) -> None:
    """By asking there."""
    finding = check_region(_setup(other, regions={"intl": other.url, "cn": server.url}))
    assert finding == Finding("region", "fail", "intl refuses the key, cn accepts it", "use region='cn' (--region cn)")


@pytest.mark.parametrize(("now", "status"), [("2026-05-01", "warn"), ("2026-12-01", "fail")])
def test_3_a_retired_model_names_its_successor(server: LocalServer, now: str, status: str) -> None:
    """A warning before its last day, a failure after."""
    at = datetime.fromisoformat(now).replace(tzinfo=timezone.utc).timestamp()
    finding = check_model(_setup(server, model="qwen3-omni-flash-realtime", now=lambda: at))
    assert finding.status == status
    assert "2026-10-10" in finding.what
    assert finding.remedy.startswith("use qwen3.5-")


def test_4_no_network_is_seen_in_the_name_lookup(server: LocalServer) -> None:
    """And nothing that needs the network is tried after it."""

    def lookup(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    findings = {finding.name: finding for finding in examine(_setup(server, lookup=lookup))}
    assert findings["dns"].status == "fail"
    assert "Temporary failure" in findings["dns"].what
    assert "connect to a network" in findings["dns"].remedy
    assert not findings.keys() & {"tls", "clock", "region", "session"}


def test_4b_a_lookup_that_hangs_is_given_up(server: LocalServer) -> None:
    """After the time for a check."""

    def lookup(*_: Any, **__: Any) -> list[Any]:
        time.sleep(0.5)
        return []

    finding = check_dns(_setup(server, lookup=lookup, timeout=0.05))
    assert "no answer within 0.05 s" in finding.what


def test_4c_a_port_that_nobody_listens_on_is_told(server: LocalServer) -> None:
    """With its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    finding = check_tls(_setup(server, regions={"intl": f"ws://127.0.0.1:{port}/"}))
    assert (finding.name, finding.status) == ("tcp", "fail")
    assert f":{port}" in finding.what


def test_5_a_bad_proxy_is_named(server: LocalServer, proxies: Callable[..., Any]) -> None:
    """One that refuses, one that is not there; a good one is an ok."""
    good, bad = proxies(), proxies("refuse")
    assert check_proxy(_setup(server, proxy=good.url)).status == "ok"
    for url in (bad.url, "http://127.0.0.1:9"):
        finding = check_proxy(_setup(server, proxy=url))
        assert finding.status == "fail"
        assert url.rpartition("/")[2] in finding.what
        assert "https_proxy" in finding.remedy
    assert check_proxy(_setup(server, proxy="ftp://x")).status == "fail"
    assert check_dns(_setup(server, proxy=good.url)).what == "the proxy looks localhost up"
    assert check_dns(_setup(server, regions={"intl": server.url})).what == "127.0.0.1 needs none"


def test_6_an_unknown_authority_is_named(
    authority: trustme.CA, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """With what to set; trusted, it is shown; and a certificate for another name is told apart."""
    with LocalServer(api_key=KEY, tls=server_tls) as server:
        finding = check_tls(_setup(server))
        assert finding.status == "fail"
        assert "trustme" in finding.what
        assert "SSL_CERT_FILE" in finding.remedy
        trusted = check_tls(_setup(server, ssl_context=client_tls))
        assert trusted.status == "ok"
        assert "trustme" in trusted.what
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("elsewhere.example").configure_cert(context)
    with LocalServer(tls=context) as server:
        assert "another name" in check_tls(_setup(server, ssl_context=client_tls)).what


def test_6b_a_proxy_that_opens_tls_is_told(server: LocalServer) -> None:
    """By the name it signs with, although the machine trusts it."""
    interceptor = trustme.CA(organization_name="Zscaler Inc.")
    context, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    interceptor.issue_cert("localhost").configure_cert(context)
    interceptor.configure_trust(trusting)
    with LocalServer(tls=context) as opened:
        finding = check_tls(_setup(opened, ssl_context=trusting))
    assert finding.status == "warn"
    assert "Zscaler" in finding.what


@pytest.mark.parametrize(("off", "status"), [(3600, "fail"), (-3600, "fail"), (60, "warn"), (0, "ok")])
def test_7_a_wrong_clock_is_measured_against_the_server(server: LocalServer, off: int, status: str) -> None:
    """By the date of an HTTP answer."""
    finding = check_clock(_setup(server, now=lambda: time.time() + off))
    assert finding.status == status
    # an HTTP date has whole seconds, so that a second more or less is nobody's fault
    wanted = {3600: "60 minutes", 60: "(59|60|61) seconds", 0: "agrees"}[abs(off)]
    assert re.match(wanted, finding.what), finding.what
    if off:
        assert ("ahead" if off > 0 else "behind") in finding.what
        assert "clock" in finding.remedy


def test_7b_a_certificate_that_has_expired_points_to_the_clock(
    authority: trustme.CA, client_tls: ssl.SSLContext
) -> None:
    """Since that is what is usually wrong; and the clock is examined although TLS failed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    past = datetime.now(timezone.utc) - timedelta(days=1)
    authority.issue_cert("localhost", not_after=past).configure_cert(context)
    with LocalServer(tls=context) as server:
        findings = {finding.name: finding for finding in examine(_setup(server, ssl_context=client_tls))}
    assert "no longer valid" in findings["tls"].what
    assert "clock" in findings["tls"].remedy
    assert findings["clock"].status == "ok"


def test_8_no_portaudio_comes_with_the_line_to_type(monkeypatch: pytest.MonkeyPatch, server: LocalServer) -> None:
    """And ends the checks of sound."""
    monkeypatch.setitem(sys.modules, "pyaudio", None)
    finding = check_portaudio(_setup(server))
    assert finding.status == "fail"
    assert "pip install pyaudio" in finding.remedy
    assert [each.name for each in examine(_setup(server, with_sound=True))][-1] == "portaudio"


def test_9_no_device_and_no_default_are_told_apart(server: LocalServer) -> None:
    """The first a failure, the second a warning."""
    finding = check_devices(_setup(server, devices=list))
    assert (finding.status, finding.what) == ("fail", "no sound devices")
    assert "plug one in" in finding.remedy
    finding = check_devices(_setup(server, devices=lambda: [replace(CARD, default_input=False)]))
    assert (finding.status, finding.what) == ("warn", "no default input; output card (48000 Hz)")
    assert check_devices(_setup(server, devices=lambda: [CARD])).status == "ok"


def test_10_a_silent_server_is_given_up() -> None:
    """It takes the connection, and then nothing comes; or not even that."""
    with LocalServer(faults=[Silent(times=0)]) as server:
        finding = check_session(_setup(server, timeout=0.3))
        assert finding.status == "fail"
        assert "said nothing for 0.3 s" in finding.what
        assert "try again later" in finding.remedy
        failed = [each.name for each in examine(_setup(server, timeout=0.3)) if each.status == "fail"]
    assert failed == ["session"]


@pytest.mark.parametrize(
    ("broken", "cause"),
    [
        ({"key": ""}, "key"),
        ({"key": "sk-wrong-wrong-wrong-wrong"}, "region"),
        ({"model": "qwen3-omni-flash-realtime", "now": lambda: time.time() + 5 * 365 * 86400}, "model"),
        ({"proxy": "http://127.0.0.1:9"}, "proxy"),
        ({"now": lambda: time.time() - 7200}, "clock"),
        ({"with_sound": True, "devices": list}, "devices"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_the_first_failure_is_the_cause(server: LocalServer, broken: dict[str, Any], cause: str) -> None:
    """With a remedy; what cannot succeed any more is not tried, and so does not hide it."""
    failed = [finding for finding in examine(_setup(server, **broken)) if finding.status == "fail"]
    assert failed[0].name == cause
    assert all(finding.remedy for finding in failed)


# What else can be found.


def test_a_server_that_hangs_in_the_handshake_is_given_up(peers: Callable[..., Any]) -> None:
    """With the phase."""

    def hold(link: Link) -> None:
        link.read_request()
        link.stop.wait(10)

    peer = peers(hold)
    finding = check_session(Setup(key=KEY, regions={"intl": peer.url}, proxy="", timeout=0.3))
    assert finding.status == "fail"
    assert "handshake" in finding.what


@pytest.mark.parametrize(
    ("key", "status", "word"),
    [
        ("", "fail", "no API key"),
        ("sk-with blank", "fail", "characters"),
        ("my-key-0123456789abcdef", "warn", "sk-"),
        ("sk-short", "warn", "short"),
        (KEY, "ok", "35 characters"),
    ],
)
def test_the_form_of_a_key_tells_something(key: str, status: str, word: str) -> None:
    """Before anybody is asked; it is never shown whole."""
    finding = check_key(Setup(key=key))
    assert finding.status == status
    assert word in finding.what
    assert not key or len(key) < 16 or key not in finding.what


def test_unknown_models_are_told_from_misspelt_ones(server: LocalServer) -> None:
    """One may be new, the other cannot be; the way to the server is examined all the same."""
    assert check_model(_setup(server, model="qwen9-tts-realtime")).status == "warn"
    assert check_model(_setup(server, model="gpt-4")).status == "fail"
    assert "session" in [finding.name for finding in examine(_setup(server, model="gpt-4"))]


def test_an_impossible_url_is_a_finding_and_the_sound_is_examined_all_the_same() -> None:
    """Not an exception in the middle of the list."""
    found = list(examine(Setup(key=KEY, regions={"mine": "http://example"}, devices=list)))
    assert [(each.name, each.status) for each in found[:3]] == [("key", "ok"), ("model", "ok"), ("url", "fail")]
    assert "wss://" in found[2].remedy
    assert found[-1].name == "devices"


def test_other_refusals_are_passed_on(server: LocalServer) -> None:
    """Too many requests prove that the key is known; a server error proves nothing."""
    with LocalServer(faults=[RateLimit(times=0), Reject(status=429, times=0)]) as busy:
        finding = check_region(_setup(busy))
        assert finding.status == "warn"
        assert "knows the key" in finding.what
    with LocalServer(faults=[Reject(status=503, times=0)]) as broken:
        assert "503" in check_region(_setup(broken)).what
        assert check_session(_setup(broken)).status == "fail"


def test_pings_without_answer_are_a_warning() -> None:
    """Sessions live without them."""
    with LocalServer(faults=[NoPong(times=0)]) as server:
        finding = check_session(_setup(server, timeout=0.3))
        assert finding.status == "warn"
        assert "ping" in finding.what


def test_a_server_without_a_date_leaves_the_clock_open(peers: Callable[..., Any]) -> None:
    """That is no failure."""
    peer = peers(lambda link: link.answer("200 OK"))
    assert check_clock(Setup(key=KEY, regions={"intl": peer.url}, proxy="", timeout=2.0)).status == "warn"


@pytest.mark.parametrize(
    ("samples", "status", "word"),
    [
        (TONE, "ok", "dBFS"),
        (np.zeros(24000, np.int16), "fail", "digital silence"),
        (np.random.default_rng(1).integers(-300, 300, 24000).astype(np.int16), "warn", "but not the tone"),
    ],
    ids=["tone", "silence", "noise"],
)
def test_a_second_of_tone_is_listened_for(samples: Any, status: str, word: str) -> None:
    """Silence is a muted microphone; noise without the tone may be headphones."""
    finding = check_loopback(Setup(key=KEY, **_hears(samples)))
    assert finding.status == status
    assert word in finding.what


def test_a_device_that_refuses_is_a_failure() -> None:
    """With its own words."""
    source = ArrayInput(TONE, 16000)
    source.unplug(refusals=100)
    finding = check_loopback(Setup(key=KEY, output=MemoryOutput(), source=source))
    assert finding.status == "fail"
    assert "unplugged" in finding.what
