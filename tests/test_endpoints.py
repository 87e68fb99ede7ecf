"""Where to connect and as whom."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from qwen_realtime.endpoints import REGIONS, Endpoint, is_loopback, key_source, resolve
from qwen_realtime.errors import ConfigError
from qwen_realtime.notices import RealtimeWarning
from qwen_realtime.protocol import Family


def _resolved(**options: Any) -> Endpoint:
    defaults: dict[str, Any] = {
        "family": Family.TTS,
        "model": "qwen3-tts-flash-realtime",
        "url": None,
        "region": "intl",
        "workspace": None,
        "headers": None,
    }
    return resolve(**{**defaults, **options})


class TestTheKey:
    """Where the key comes from."""

    def test_the_argument_comes_before_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """``DASHSCOPE_API_KEY`` is the default only."""
        monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-environment")
        assert key_source(None)() == "sk-environment"
        assert key_source("sk-argument")() == "sk-argument"

    def test_a_callable_is_asked_each_time(self) -> None:
        """Keys that expire are fetched when they are needed."""
        keys = iter(["sk-1", "sk-2"])
        source = key_source(lambda: next(keys))
        assert [source(), source()] == ["sk-1", "sk-2"]

    def test_blanks_around_it_are_forgiven(self) -> None:
        """A line end from a file is no part of a key."""
        assert key_source(" sk-1\n")() == "sk-1"

    @pytest.mark.parametrize("key", [None, "", "  ", "\n"])
    def test_no_key_names_the_variable(self, key: str | None) -> None:
        """The error says what to set."""
        with pytest.raises(ConfigError, match="DASHSCOPE_API_KEY"):
            key_source(key)

    @pytest.mark.parametrize(
        "key", ["sk-se cret", "sk-se\ncret", "sk-sécret", "“sk-secret”", "sk-\x00secret", b"secret"]
    )
    def test_a_key_that_cannot_be_is_refused_and_not_shown(self, key: Any) -> None:
        """A header could not hold it; the message does not repeat it."""
        with pytest.raises(ConfigError) as caught:
            key_source(key)
        assert "cret" not in str(caught.value)
        with pytest.raises(ConfigError):
            key_source(lambda: key)()


class TestTheUrl:
    """Which URL it comes to."""

    def test_a_region_has_its_host_and_the_model_is_in_the_query(self) -> None:
        """Singapore is the default."""
        endpoint = _resolved()
        assert endpoint.url == "wss://dashscope-intl.aliyuncs.com/api-ws/v1/realtime?model=qwen3-tts-flash-realtime"
        assert endpoint[1:5] == ("dashscope-intl.aliyuncs.com", 443, True, "intl")
        assert _resolved(region="cn").host == "dashscope.aliyuncs.com"
        assert set(REGIONS) == {"intl", "cn"}

    def test_an_unknown_region_is_refused_with_the_known_ones(self) -> None:
        """The error lists what there is."""
        with pytest.raises(ConfigError, match="'intl', 'cn'"):
            _resolved(region="us")

    def test_the_argument_comes_before_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """``QWEN_REALTIME_URL`` is the default only, and comes before the region."""
        monkeypatch.setenv("QWEN_REALTIME_URL", "ws://127.0.0.1:1/a")
        assert _resolved().url == "ws://127.0.0.1:1/a?model=qwen3-tts-flash-realtime"
        assert _resolved().region == ""
        assert _resolved(url="ws://127.0.0.1:2/b").port == 2

    def test_a_query_is_kept_and_its_model_replaced(self) -> None:
        """A gateway's own parameters survive."""
        assert _resolved(url="wss://gate/x?a=1&model=other#f", model="m n").url == "wss://gate/x?a=1&model=m+n"

    @pytest.mark.parametrize(
        "url", ["https://host/", "host", "wss://", "wss://:80/", "wss://host:port/", "wss://host:99999/", "wss://[::1/"]
    )
    def test_what_is_no_websocket_url_is_refused(self, url: str) -> None:
        """Whatever is wrong with it, it is a ``ConfigError``."""
        with pytest.raises(ConfigError):
            _resolved(url=url)

    def test_plain_ws_to_elsewhere_warns(self) -> None:
        """The key would go over the wire unencrypted."""
        with pytest.warns(RealtimeWarning, match="unencrypted"):
            _resolved(url="ws://example.com/")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            _resolved(url="ws://localhost:8000/")
            _resolved(url="ws://[::1]:8000/")

    @pytest.mark.parametrize(
        ("host", "loopback"),
        [
            ("localhost", True),
            ("127.0.0.1", True),
            ("127.8.8.8", True),
            ("::1", True),
            ("127.0.0.1.example.com", False),
            ("127.example.com", False),
            ("example.com", False),
            ("10.0.0.1", False),
        ],
    )
    def test_only_this_machine_is_loopback(self, host: str, loopback: bool) -> None:
        """A name that merely begins like a loopback address is not one."""
        assert is_loopback(host) is loopback


class TestHeaders:
    """What is sent beside the WebSocket headers."""

    def test_only_asr_gets_the_beta_header(self) -> None:
        """The reference lists it there only."""
        assert "OpenAI-Beta" not in _resolved().headers
        assert _resolved(family=Family.ASR).headers["OpenAI-Beta"] == "realtime=v1"

    def test_workspace_and_your_own_headers_are_sent(self) -> None:
        """Yours replace ours, whatever their case, but not the authorization."""
        headers = _resolved(
            workspace="ws-1", headers={"user-agent": "mine", "X-More": "1", "AUTHORIZATION": "Bearer other"}
        ).headers
        assert headers == {"X-DashScope-WorkSpace": "ws-1", "user-agent": "mine", "X-More": "1"}

    @pytest.mark.parametrize(
        "options", [{"headers": {"X": "a\r\nY: b"}}, {"headers": {"X\n": "a"}}, {"workspace": "w\r\nY: b"}], ids=str
    )
    def test_nothing_breaks_out_of_its_line(self, options: dict[str, Any]) -> None:
        """A header with a line end would be two."""
        with pytest.raises(ConfigError, match="characters"):
            _resolved(**options)
