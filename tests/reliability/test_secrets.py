"""The key appears nowhere: in no log, repr, traceback, exception or file, with everything at its most talkative."""

from __future__ import annotations

import ast
import contextlib
import gc
import io
import logging
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import websocket

from qwen_realtime import ASRClient, LiveTranslateClient, OmniClient, RealtimeClient, TTSClient
from qwen_realtime.errors import RealtimeError
from qwen_realtime.server import LocalServer, admission
from qwen_realtime.server.engines import Engines

from ..peer import Link, Peer
from ..proxy import Proxy, Way
from .tools import AT_ONCE

ROOT = Path(__file__).parents[2]
KEY = "sk-THISISTHESECRETKEY0123456789abcdef"


@pytest.fixture
def talkative(capfd: pytest.CaptureFixture[str]) -> Iterator[io.StringIO]:
    """All loggers at DEBUG, websocket-client's trace included; what they say."""
    told = io.StringIO()
    handler = logging.StreamHandler(told)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    logger = logging.getLogger("websocket")
    before = list(logger.handlers)
    websocket.enableTrace(True, handler=logging.StreamHandler(told))
    yield told
    websocket.enableTrace(False)
    logger.handlers[:] = before
    logger.setLevel(logging.NOTSET)
    root.removeHandler(handler)
    root.setLevel(level)
    out, err = capfd.readouterr()
    assert KEY not in out + err


def _exercise(client: Any) -> str:
    """Use a client a little; everything that it says of itself, and of what goes wrong."""
    told = [repr(client)]
    client.on("*", lambda event: told.append(f"{event!r} {event}"))

    def clumsy(_: object) -> None:
        raise LookupError("a handler that fails")

    client.once("connected", clumsy)
    try:
        with client:
            if isinstance(client, TTSClient):
                client.append_text("Hello there.")
            else:
                client.append_audio(bytes(32000))
            told += [repr(client), str(vars(client.metrics)), repr(client.session)]
    except RealtimeError:
        told.append(traceback.format_exc())
    told += [repr(client), repr(client.close_info)]
    return "\n".join(told)


@pytest.mark.parametrize("kind", [TTSClient, ASRClient, OmniClient, LiveTranslateClient])
def test_a_session_with_breaks(
    kind: type[RealtimeClient], tones: Engines, talkative: io.StringIO, through: Callable[..., Proxy], tmp_path: Path
) -> None:
    """The whole of it, cut twice, with a trace, is written down; the key is not in it."""
    trace = tmp_path / "trace.jsonl"
    with LocalServer(engines=tones, api_key=KEY) as server:
        proxy = through(server.url, down=Way(cut_at=900), faulty=1)
        told = _exercise(kind(url=proxy.url, api_key=KEY, trace=trace, reconnect=AT_ONCE))
        told += repr(server.records) + repr(server) + str([vars(each) for each in server.records])
    assert KEY not in told
    assert KEY not in talkative.getvalue()
    assert "Sec-WebSocket-Key" in talkative.getvalue(), "websocket-client's trace was on"
    assert "a handler that fails" in talkative.getvalue()
    assert KEY not in trace.read_text(encoding="utf-8")
    assert trace.stat().st_size > 0


def refused(link: Link) -> None:
    """A server that shows the key to whoever reads its answer."""
    link.answer("403 Forbidden", f"the key {KEY} is not known".encode(), Location=f"wss://elsewhere/?{KEY}", Retry=KEY)


def moved(link: Link) -> None:
    """A server that puts the key into the address it sends us to."""
    link.answer("302 Found", b"", Location=f"wss://elsewhere.example/?key={KEY}")


def garbled(link: Link) -> None:
    """A server that answers the request with the request."""
    link.read_request()
    link.raw(f"HTTP/1.1 101 Switching\r\nUpgrade: {KEY}\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode())


def nonsense(link: Link) -> None:
    """One that is no HTTP server."""
    link.read_request()
    link.raw(f"Bearer {KEY}\r\n\r\n".encode())


@pytest.mark.parametrize("script", [refused, moved, garbled, nonsense])
def test_a_server_that_echoes_it(
    script: Callable[[Link], None], peers: Callable[..., Peer], talkative: io.StringIO
) -> None:
    """What it answers is shown without it, in the error and in its causes."""
    client = TTSClient(url=peers(script).url, api_key=KEY)
    with pytest.raises(RealtimeError) as caught:
        client.connect()
    shown = "".join(traceback.format_exception(caught.value))
    for error in _chain(caught.value):
        shown += repr(error) + str(vars(error))
    assert KEY not in shown
    assert KEY not in talkative.getvalue()
    assert KEY not in repr(client.close_info)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def test_no_object_of_ours_shows_it(tones: Engines) -> None:
    """Whatever is printed in a debugger's or a crash reporter's window: the key is behind a function."""
    with LocalServer(engines=tones, api_key=KEY) as server, TTSClient(url=server.url, api_key=KEY) as client:
        client.append_text("Hello.")
        ours = [each for each in gc.get_objects() if str(type(each).__module__).startswith("qwen_realtime.")]
        assert client in ours
        for each in ours:
            with contextlib.suppress(Exception):
                assert KEY not in repr(each), type(each)


def _dangers(tree: ast.AST) -> Iterator[str]:
    """What runs text as code, unpickles, or gives a line to a shell."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names if each.name.split(".")[0] in ("pickle", "marshal", "shelve"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("pickle", "marshal", "shelve"):
            yield str(node.module)
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in ("eval", "exec", "compile", "os.system", "os.popen", "subprocess.getoutput"):
                yield called
            yield from (called for each in node.keywords if each.arg == "shell")


@pytest.mark.parametrize("folder", ["qwen_realtime", "samples"])
def test_nothing_is_run_that_was_text(folder: str) -> None:
    """No ``eval``, no ``pickle``, no shell."""
    files = sorted((ROOT / folder).rglob("*.py"))
    assert len(files) > 10
    found = {str(path): list(_dangers(ast.parse(path.read_text(encoding="utf-8")))) for path in files}
    assert not {path: what for path, what in found.items() if what}
    assert list(_dangers(ast.parse("import pickle; eval(x); run(y, shell=True)"))) == ["pickle", "eval", "run"]


class TestLocalServer:
    """The local server guards its key, and itself."""

    def test_the_key_is_compared_in_constant_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """By the library function that is made for it."""
        compared: list[tuple[bytes, ...]] = []
        monkeypatch.setattr("hmac.compare_digest", lambda *both: compared.append(both))
        headers = {"authorization": "Bearer guess"}
        refusal = admission.judge(f"{admission.PATH}?model=qwen3-tts-flash-realtime", headers, KEY, full=False)
        assert isinstance(refusal, admission.Refusal)
        assert refusal.status == 401
        assert KEY not in refusal.body
        assert compared == [(b"guess", KEY.encode())]

    def test_it_listens_on_loopback_only(self, tones: Engines) -> None:
        """Unless it is told otherwise."""
        with LocalServer(engines=tones) as server:
            assert server.url.startswith("ws://127.0.0.1:")
            assert server._listening is not None
            assert server._listening.getsockname()[0] == "127.0.0.1"

    def test_messages_sessions_and_time_are_bounded(self, tones: Engines) -> None:
        """Too long a message closes with 1009, too many sessions are refused with 429, too old ones end."""
        with LocalServer(engines=tones, max_message_bytes=1000, max_sessions=1, session_limit_s=1.0) as server:
            client = ASRClient(url=server.url, api_key="k").connect()
            with pytest.raises(RealtimeError, match="429"):
                ASRClient(url=server.url, api_key="k").connect()
            client.append_audio(bytes(2000))
            assert client.wait(5).code == 1009
        with LocalServer(engines=tones, session_limit_s=0.2) as server:
            info = ASRClient(url=server.url, api_key="k").connect().wait(5)
            assert (info.by, info.code) == ("server", 1011)
