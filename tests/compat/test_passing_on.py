"""What is passed on as it is: models, keys, URLs, headers, bytes; and speech synthesis."""

from __future__ import annotations

import base64
import gc
import threading
import time
import weakref
from typing import Any

import pytest

from qwen_realtime import ConfigError
from qwen_realtime.compat import dashscope
from qwen_realtime.compat.dashscope.audio.qwen_omni import OmniRealtimeConversation
from qwen_realtime.compat.dashscope.audio.qwen_tts_realtime import QwenTtsRealtime

from ..peer import Link
from .recorder import SECONDS, Peers, Recorder, greeting_then, omni, until_closed


def test_bytes_of_sound_and_images_are_encoded(peers: Peers) -> None:
    """Ours takes bytes where the vendor's takes base64 text only."""
    peer = peers()
    conversation = omni(peer)
    conversation.connect()
    for sound in (b"\x01\x02\x03\x04", bytearray(b"\x01\x02\x03\x04"), memoryview(b"\x01\x02\x03\x04")):
        conversation.append_audio(sound)
    conversation.append_video(b"\xff\xd8\xff")
    image = peer.link().wait_for("input_image_buffer.append")
    conversation.close()
    assert base64.b64decode(image["image"]) == b"\xff\xd8\xff"
    sounds = [event["audio"] for event in peer.link().events if event["type"] == "input_audio_buffer.append"]
    assert sounds == [base64.b64encode(b"\x01\x02\x03\x04").decode()] * 3


@pytest.mark.parametrize(
    "model", ["qwen-tts-realtime", "qwen3-tts-flash-realtime-2025-09-18", "qwen-tts-vc-my-voice-2026", "custom/model 1"]
)
def test_any_model_and_voice_go(peers: Peers, model: str) -> None:
    """Retired, unknown and custom names are passed on, in the query too; a warning would fail this test."""
    peer = peers()
    tts = QwenTtsRealtime(model, url=f"{peer.url}?x=1&model=other", api_key="k")
    tts.connect()
    tts.update_session(voice="qwen-tts-vc-my-voice", speech_rate=99.0)
    peer.link().wait_for("session.update")
    tts.close()
    query = peer.link().path.partition("?")[2]
    assert query == f"x=1&model={model.replace('/', '%2F').replace(' ', '+')}"


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("qwen3-asr-flash-realtime", "asr"),
        ("qwen3-livetranslate-flash-realtime", "livetranslate"),
        ("qwen3.5-omni-plus-realtime", "omni"),
        ("custom", "omni"),
    ],
)
def test_the_client_underneath_is_of_the_models_family(peers: Peers, model: str, family: str) -> None:
    """Players and typed handlers can be attached to it; a name that does not tell is a conversation's."""
    conversation = OmniRealtimeConversation(model, Recorder(), url=peers().url, api_key="k")
    assert conversation.client is None
    conversation.connect()
    assert conversation.client is not None
    assert conversation.client.family.value == family
    conversation.close()


def test_headers_and_workspace_are_sent(peers: Peers) -> None:
    """The program's headers arrive; the key cannot be replaced by one of them."""
    peer = peers()
    headers = {"X-Mine": "1", "Authorization": "Bearer other"}
    conversation = omni(peer, headers=headers, workspace="ws-1")
    conversation.connect()
    conversation.close()
    sent = peer.link().headers
    assert (sent["x-mine"], sent["x-dashscope-workspace"], sent["authorization"]) == ("1", "ws-1", "Bearer k")


def test_synthesis_needs_no_callback_and_measures_from_the_first_text(peers: Peers) -> None:
    """The first sound of the session counts, as with the vendor's SDK; each reply's figures are in ``metrics``."""

    def script(link: Link) -> None:
        for number in (1, 2):
            link.receive_event("input_text_buffer.append")
            time.sleep(0.05)
            link.send("response.created", response={"id": f"resp_{number}"})
            link.send("response.audio.delta", response_id=f"resp_{number}", delta="AAA=")
            link.send("response.done", response={"id": f"resp_{number}"})
        link.receive_event("session.finish")
        link.send("session.finished")
        until_closed(link)

    tts = QwenTtsRealtime("m", url=peers(greeting_then(script)).url, api_key="k")
    tts.connect()
    assert tts.get_first_audio_delay() is None
    tts.append_text("One.")
    tts.append_text("Two.")
    assert tts.client is not None
    with tts.client.expect("session.finished", SECONDS):
        tts.finish()
    tts.close()
    delay = tts.get_first_audio_delay()
    assert delay is not None
    assert 45 <= delay < SECONDS * 1000
    assert [reply["response_id"] for reply in tts.metrics] == ["resp_1", "resp_2"]
    assert tts.get_last_response_id() == "resp_2"
    assert tts.last_first_text_time is not None


def test_the_methods_that_are_public_by_accident_work(caplog: pytest.LogCaptureFixture) -> None:
    """A program that feeds messages by hand gets its callbacks."""
    callback = Recorder()
    tts = QwenTtsRealtime("m", callback=callback, api_key="k")
    tts.on_message(None, '{"type": "session.created", "session": {"id": "sess_9"}}')
    tts.on_error(None, OSError("broken"))
    tts.on_close(None, 1000, "bye")
    assert callback.calls == ["session.created", "on_close"]
    assert callback.closed == [(1000, "bye")]
    assert tts.get_session_id() == "sess_9"
    assert "broken" in caplog.text


def test_the_key_comes_from_the_first_of_its_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    """Argument, then the module's, then the environment, then the vendor's module if it was imported."""
    import dashscope as vendor

    def key(**options: Any) -> str | None:
        return OmniRealtimeConversation("m", Recorder(), **options).apikey

    monkeypatch.setattr(vendor, "api_key", None)
    assert key() is None
    monkeypatch.setattr(vendor, "api_key", "vendors")
    assert key() == "vendors"
    monkeypatch.setenv("DASHSCOPE_API_KEY", "environment")
    assert dashscope.api_key == "environment"
    assert key() == "environment"
    monkeypatch.setattr(dashscope, "api_key", "ours")
    assert key() == "ours"
    assert key(api_key="argument") == "argument"
    assert QwenTtsRealtime("m", api_key="argument").apikey == "argument"
    assert QwenTtsRealtime("m").apikey == "ours"


def test_a_key_may_be_set_until_connecting(peers: Peers) -> None:
    """Programs set ``apikey`` on the object; it is not shown."""
    peer = peers()
    tts = QwenTtsRealtime("m", url=peer.url)
    tts.apikey = "sk-secret"
    tts.connect()
    assert "sk-secret" not in repr(tts)
    assert "open" in repr(tts)
    tts.close()
    assert peer.link().headers["authorization"] == "Bearer sk-secret"


def test_the_module_has_nothing_but_the_realtime_classes() -> None:
    """What it does not stand in for is told, rather than missing without a word."""
    with pytest.raises(AttributeError, match="vendor's dashscope"):
        _ = dashscope.Generation
    assert dashscope.audio.qwen_omni.OmniRealtimeConversation is OmniRealtimeConversation


def test_the_environments_url_is_for_objects_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a program that names no URL can be pointed at a local server; otherwise it is the vendor's default."""
    default = OmniRealtimeConversation("m", Recorder()).url
    assert default == "wss://dashscope.aliyuncs.com/api-ws/v1/realtime?model=m"
    monkeypatch.setenv("QWEN_REALTIME_URL", "ws://127.0.0.1:1/x")
    assert QwenTtsRealtime("m").url == "ws://127.0.0.1:1/x?model=m"


def test_a_model_and_a_callback_are_needed() -> None:
    """As with the vendor's SDK, but for synthesis without a callback."""
    with pytest.raises(ConfigError, match="model"):
        OmniRealtimeConversation("", Recorder())
    with pytest.raises(ConfigError, match="callback"):
        OmniRealtimeConversation("m", None)  # type: ignore[arg-type]


def test_an_object_that_is_dropped_leaves_nothing(peers: Peers) -> None:
    """A closed object is collected: nothing global holds it."""
    conversation = omni(peers())
    conversation.connect()
    conversation.close()
    assert conversation.thread is not None
    conversation.thread.join(SECONDS)
    collected = threading.Event()
    weakref.finalize(conversation, collected.set)
    del conversation
    for _ in range(100):  # the receiving thread, which nobody waits for, may be just about to let go of it
        gc.collect()
        if collected.wait(0.05):
            break
    assert collected.is_set()
