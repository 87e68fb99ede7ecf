"""What is sent is what the installed SDK of the vendor sends for the same calls."""

# ruff: noqa: ARG005 - all calls get the module with the parameter classes, whether they need it or not

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen_realtime.compat.dashscope.audio import qwen_omni as our_omni
from qwen_realtime.compat.dashscope.audio import qwen_tts_realtime as our_tts
from qwen_realtime.compat.dashscope.audio.qwen_omni import omni_realtime as our_omni_module
from qwen_realtime.compat.dashscope.audio.qwen_tts_realtime import qwen_tts_realtime as our_tts_module

from ..peer import Peer

vendor: Any = pytest.importorskip("dashscope", reason="the vendor's SDK is in the extra dev")
vendor_omni: Any = vendor.audio.qwen_omni
vendor_tts: Any = vendor.audio.qwen_tts_realtime
vendor_omni_module: Any = vendor_omni.omni_realtime
vendor_tts_module: Any = vendor_tts.qwen_tts_realtime

Call = Callable[[Any, Any], object]  # what to do with an object, and the module that has the parameter classes

TOOLS = [{"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}]

OMNI_CALLS: dict[str, Call] = {
    "the defaults": lambda c, m: c.update_session([m.MultiModality.TEXT]),
    "the usual": lambda c, m: c.update_session(
        output_modalities=[m.MultiModality.AUDIO, m.MultiModality.TEXT],
        voice="Chelsie",
        input_audio_format=m.AudioFormat.PCM_16000HZ_MONO_16BIT,
        output_audio_format=m.AudioFormat.PCM_24000HZ_MONO_16BIT,
        enable_input_audio_transcription=True,
        input_audio_transcription_model="gummy-realtime-v1",
        enable_turn_detection=True,
        turn_detection_type="server_vad",
    ),
    "positional arguments": lambda c, m: c.update_session(
        [m.MultiModality.TEXT],
        "Tina",
        m.AudioFormat.PCM_24000HZ_MONO_16BIT,
        m.AudioFormat.PCM_16000HZ_MONO_16BIT,
        False,
        None,
        True,
        "semantic_vad",
        0,
        -0.5,
        6000,
    ),
    "no turn detection": lambda c, m: c.update_session(
        [m.MultiModality.TEXT], enable_turn_detection=False, turn_detection_param={"create_response": False}
    ),
    "turn detection parameters": lambda c, m: c.update_session(
        [m.MultiModality.TEXT], turn_detection_param={"threshold": 0.9, "create_response": False}
    ),
    "no transcription": lambda c, m: c.update_session(
        [m.MultiModality.TEXT], enable_input_audio_transcription=False, input_audio_transcription_model="ignored"
    ),
    "transcription parameters": lambda c, m: c.update_session(
        [m.MultiModality.TEXT],
        input_audio_transcription_model="replaced",
        transcription_params=m.TranscriptionParams("zh", 8000, "opus", {"text": "replaced"}, "corpus 文本"),
    ),
    "empty transcription parameters": lambda c, m: c.update_session(
        [m.MultiModality.TEXT], enable_input_audio_transcription=False, transcription_params=m.TranscriptionParams()
    ),
    "transcription parameters beside new formats": lambda c, m: c.update_session(
        [m.MultiModality.TEXT],
        transcription_params=m.TranscriptionParams(language="en", corpus={"text": "terms"}),
        input_audio_config=m.AudioFormatConfig(),
    ),
    "translation parameters": lambda c, m: c.update_session(
        [m.MultiModality.TEXT],
        translation_params=m.TranslationParams("en", m.TranslationParams.Corpus({"人工智能": "AI"})),
    ),
    "translation without a corpus": lambda c, m: c.update_session(
        [m.MultiModality.TEXT], translation_params=m.TranslationParams(language="en")
    ),
    "translation with an empty corpus": lambda c, m: c.update_session(
        [m.MultiModality.TEXT], translation_params=m.TranslationParams(corpus=m.TranslationParams.Corpus())
    ),
    "new formats": lambda c, m: c.update_session(
        [m.MultiModality.AUDIO],
        input_audio_config=m.AudioFormatConfig(m.AudioFormatType.WAV, m.AudioSampleRate.SAMPLE_RATE_8K),
        output_audio_config=m.AudioFormatConfig("mp3", 44100, {"speech_rate": 1.2, "type": "opus"}),
    ),
    "a new output format": lambda c, m: c.update_session(
        [m.MultiModality.AUDIO], output_audio_config=m.AudioFormatConfig(sample_rate=48000, extra_params={})
    ),
    "compact images": lambda c, m: c.update_session(
        [m.MultiModality.TEXT], input_video_representation_compact="normal"
    ),
    "fields of one's own": lambda c, m: c.update_session(
        [m.MultiModality.TEXT],
        voice="Tina",
        instructions="你是小云",
        tools=TOOLS,
        modalities=["audio"],
        turn_detection={"type": "smart_turn"},
        audio={"input": {}},
    ),
    "an unknown voice": lambda c, m: c.update_session([m.MultiModality.AUDIO], voice="myvoice-123"),
    "no modalities": lambda c, m: c.update_session([]),
    "append_audio": lambda c, m: c.append_audio("AAECAw=="),
    "append_audio of anything": lambda c, m: c.append_audio('no "base64"\n文'),
    "append_video": lambda c, m: c.append_video("/9j/AA=="),
    "commit": lambda c, m: c.commit(),
    "clear_appended_audio": lambda c, m: c.clear_appended_audio(),
    "create_response": lambda c, m: c.create_response(),
    "create_response with instructions": lambda c, m: c.create_response("be brief", [m.MultiModality.TEXT]),
    "create_response with no modalities": lambda c, m: c.create_response(output_modalities=[]),
    "cancel_response": lambda c, m: c.cancel_response(),
    "create_item": lambda c, m: c.create_item({"id": "item_1", "type": "function_call_output", "output": "é 文"}),
    "end_session_async": lambda c, m: c.end_session_async(),
    "send_raw": lambda c, m: c.send_raw('{"type": "session.update",  "session": {"voice": "文"}}'),
    "send_raw of no event": lambda c, m: c.send_raw('["anything"]'),
}

TTS_CALLS: dict[str, Call] = {
    "the defaults": lambda c, m: c.update_session("Cherry"),
    "the usual": lambda c, m: c.update_session(
        voice="Cherry", response_format=m.AudioFormat.PCM_24000HZ_MONO_16BIT, mode="commit"
    ),
    "everything": lambda c, m: c.update_session(
        "Ethan",
        m.AudioFormat.PCM_24000HZ_MONO_16BIT,
        "server_commit",
        8000,
        0,
        0.5,
        "mp3",
        2.0,
        6,
        "Chinese",
        False,
        "whisper 轻声",
        True,
        more={"a": 1},
        mode_of_mine=None,
    ),
    "nothing asked for": lambda c, m: c.update_session(voice=None, sample_rate=None, instructions=""),
    "a field of one's own over others": lambda c, m: c.update_session("Cherry", format="wav"),
    "append_text": lambda c, m: c.append_text("Hello, 世界 \U0001f600"),
    "append_text of nothing": lambda c, m: c.append_text(""),
    "commit": lambda c, m: c.commit(),
    "clear_appended_text": lambda c, m: c.clear_appended_text(),
    "cancel_response": lambda c, m: c.cancel_response(),
    "send_raw": lambda c, m: c.send_raw('{"type":"session.finish"}'),
    "finish": lambda c, m: c.finish(),
}


def sent_by_vendor(conversation: Any, call: Callable[[Any], object]) -> list[str]:
    """What the vendor's object hands to its socket."""
    sent: list[str] = []
    conversation.ws = SimpleNamespace(sock=SimpleNamespace(connected=True), send=sent.append)
    call(conversation)
    return sent


def without_id(text: str) -> list[Any]:
    """A message with the order of its keys, at every depth, but for the event's id."""

    def ordered(value: Any) -> Any:
        if isinstance(value, dict):
            return [(key, "…" if key == "event_id" else ordered(each)) for key, each in value.items()]
        return [ordered(each) for each in value] if isinstance(value, list) else value

    return list(ordered(json.loads(text)))


@pytest.fixture
def peer(peers: Callable[..., Peer]) -> Peer:
    """A peer that reads whatever comes."""

    def script(link: Any) -> None:
        link.accept()
        link.send("session.created", session={"id": "sess_1"})
        while (frame := link.receive()).opcode != 0x8:
            del frame
        link.close()

    return peers(script)


def check(peer: Peer, ours: Any, theirs: Any, call: Call, modules: tuple[Any, Any]) -> None:
    """Compare what two objects send for the same call."""
    expected = sent_by_vendor(theirs, lambda c: call(c, modules[1]))
    ours.connect()
    call(ours, modules[0])
    ours.close()
    sent = [frame.payload.decode() for frame in peer.link().frames if frame.opcode == 0x1]
    assert len(sent) == len(expected) == 1
    assert without_id(sent[0]) == without_id(expected[0])
    assert ours.config == theirs.config


@pytest.mark.parametrize("name", OMNI_CALLS)
def test_a_conversation_sends_what_the_vendors_sends(name: str, peer: Peer) -> None:
    """For each method and each style of parameters, the message is the same, down to the order of its keys."""
    ours: Any = our_omni.OmniRealtimeConversation("mine", our_omni.OmniRealtimeCallback(), url=peer.url, api_key="k")
    theirs = vendor_omni.OmniRealtimeConversation("m", vendor_omni.OmniRealtimeCallback(), api_key="k")
    check(peer, ours, theirs, OMNI_CALLS[name], (our_omni_module, vendor_omni_module))


@pytest.mark.parametrize("name", TTS_CALLS)
def test_synthesis_sends_what_the_vendors_sends(name: str, peer: Peer) -> None:
    """For each method and each style of parameters, the message is the same, down to the order of its keys."""
    ours: Any = our_tts.QwenTtsRealtime("my-model", url=peer.url, api_key="k")
    theirs = vendor_tts.QwenTtsRealtime("m", callback=vendor_tts.QwenTtsRealtimeCallback())
    check(peer, ours, theirs, TTS_CALLS[name], (our_tts_module, vendor_tts_module))


def test_end_session_sends_what_the_vendors_sends(peers: Callable[..., Peer]) -> None:
    """The event that ends a session is the same; the vendor's waits for an answer that is given here at once."""
    ours: Any = our_omni.OmniRealtimeConversation("m", our_omni.OmniRealtimeCallback(), url=peers().url, api_key="k")
    theirs = vendor_omni.OmniRealtimeConversation("m", vendor_omni.OmniRealtimeCallback(), api_key="k")
    sent: list[str] = []

    def answer(text: str) -> None:
        sent.append(text)
        theirs._on_message(None, '{"type": "session.finished"}')

    theirs.ws = SimpleNamespace(sock=SimpleNamespace(connected=True), send=answer)
    theirs.end_session()
    ours.connect()
    written: list[str] = []
    send = ours.send_raw

    def record(text: str) -> None:
        written.append(text)
        send(text)

    ours.send_raw = record
    ours.end_session()
    ours.close()
    assert [without_id(text) for text in written] == [without_id(text) for text in sent]


OPTIONS = st.fixed_dictionaries(
    {"output_modalities": st.lists(st.sampled_from(["TEXT", "AUDIO"]), max_size=2)},
    optional={
        "voice": st.none() | st.text(max_size=5),
        "enable_input_audio_transcription": st.booleans(),
        "input_audio_transcription_model": st.none() | st.text(max_size=5),
        "enable_turn_detection": st.booleans(),
        "turn_detection_type": st.text(max_size=5),
        "prefix_padding_ms": st.integers(0, 900),
        "turn_detection_threshold": st.floats(-1, 1),
        "turn_detection_silence_duration_ms": st.integers(0, 9000),
        "turn_detection_param": st.none() | st.dictionaries(st.sampled_from(["type", "threshold", "x"]), st.integers()),
        "translation_params": st.none() | st.tuples(st.none() | st.text(max_size=3), st.none() | st.just({"a": "b"})),
        "transcription_params": st.none()
        | st.tuples(
            st.none() | st.text(max_size=3),
            st.integers(),
            st.text(max_size=3),
            st.none() | st.just({"text": "t"}),
            st.none() | st.text(max_size=3),
        ),
        "input_audio_config": st.none() | st.tuples(st.sampled_from(["pcm", "PCM"]), st.integers(), st.just({"a": 1})),
        "output_audio_config": st.none() | st.tuples(st.sampled_from(["wav", "WAV"]), st.integers(), st.just({})),
        "input_video_representation_compact": st.none() | st.text(max_size=5),
        "audio": st.integers(),
        "instructions": st.text(max_size=5),
    },
)


def call_with(options: dict[str, Any], module: Any, conversation: Any) -> None:
    """Call ``update_session`` with the parameter classes of a module."""
    made = dict(options, output_modalities=[module.MultiModality[name] for name in options["output_modalities"]])
    if made.get("translation_params"):
        language, phrases = made["translation_params"]
        corpus = phrases and module.TranslationParams.Corpus(phrases)
        made["translation_params"] = module.TranslationParams(language, corpus)
    if made.get("transcription_params"):
        made["transcription_params"] = module.TranscriptionParams(*made["transcription_params"])
    for side in ("input_audio_config", "output_audio_config"):
        if made.get(side):
            kind, rate, more = made[side]
            type_ = module.AudioFormatType[kind] if kind.isupper() else kind
            made[side] = module.AudioFormatConfig(type_, rate, more)
    conversation.update_session(**made)


@given(OPTIONS)
def test_any_combination_of_parameters_makes_the_same_session_object(options: dict[str, Any]) -> None:
    """However the parameters are combined, the session object is the vendor's."""
    ours: Any = our_omni.OmniRealtimeConversation("m", our_omni.OmniRealtimeCallback(), api_key="k")
    theirs = vendor_omni.OmniRealtimeConversation("m", vendor_omni.OmniRealtimeCallback(), api_key="k")
    sent: list[str] = []
    ours.send_raw = sent.append
    call_with(options, our_omni_module, ours)
    expected = sent_by_vendor(theirs, lambda c: call_with(options, vendor_omni_module, c))
    assert [without_id(text) for text in sent] == [without_id(text) for text in expected]


TTS_OPTIONS = st.fixed_dictionaries(
    {"voice": st.none() | st.text(max_size=5)},
    optional={
        "mode": st.text(max_size=5),
        "sample_rate": st.none() | st.integers(),
        "volume": st.none() | st.integers(0, 100),
        "speech_rate": st.none() | st.floats(0, 2),
        "audio_format": st.none() | st.text(max_size=5),
        "pitch_rate": st.none() | st.floats(0, 2),
        "bit_rate": st.none() | st.integers(0, 510),
        "language_type": st.none() | st.text(max_size=5),
        "enable_tn": st.none() | st.booleans(),
        "instructions": st.none() | st.text(max_size=5),
        "optimize_instructions": st.none() | st.booleans(),
        "format": st.integers(),
        "more": st.none() | st.lists(st.text(max_size=2), max_size=2),
    },
)


@given(TTS_OPTIONS)
def test_any_combination_of_parameters_makes_the_same_session_object_for_speech(options: dict[str, Any]) -> None:
    """The same for synthesis."""
    ours: Any = our_tts.QwenTtsRealtime("m", api_key="k")
    sent: list[str] = []
    ours.send_raw = sent.append
    ours.update_session(**options)
    expected = sent_by_vendor(vendor_tts.QwenTtsRealtime("m"), lambda c: c.update_session(**options))
    assert [without_id(text) for text in sent] == [without_id(text) for text in expected]
    assert ours.config == json.loads(expected[0])["session"]


PARAMETERS = [
    (kind, method, name)
    for kind, cls in (("omni", vendor_omni.OmniRealtimeConversation), ("tts", vendor_tts.QwenTtsRealtime))
    for method in ("update_session", "create_response", "append_audio", "append_video", "append_text", "create_item")
    if hasattr(cls, method)
    for name, parameter in inspect.signature(getattr(cls, method)).parameters.items()
    if name != "self" and parameter.kind is not parameter.VAR_KEYWORD
]


@pytest.mark.parametrize(("kind", "method", "name"), PARAMETERS, ids=":".join)
def test_none_is_taken_as_the_vendors_takes_it(kind: str, method: str, name: str) -> None:
    """For each parameter of each method: it is left out, sent as ``null``, or refused with the same error."""
    given: dict[str, Any] = {"output_modalities": [], "voice": "v", "transcription_params": None, name: None}
    if kind == "omni":
        ours: Any = our_omni.OmniRealtimeConversation("m", our_omni.OmniRealtimeCallback(), api_key="k")
        theirs = vendor_omni.OmniRealtimeConversation("m", vendor_omni.OmniRealtimeCallback(), api_key="k")
    else:
        ours, theirs = our_tts.QwenTtsRealtime("m", api_key="k"), vendor_tts.QwenTtsRealtime("m")
    known = inspect.signature(getattr(theirs, method)).parameters
    options = {key: value for key, value in given.items() if key in known}

    def outcome(send: Callable[[], list[str]]) -> object:
        try:
            return [without_id(text) for text in send()]
        except (TypeError, AttributeError) as error:
            return type(error)

    def ours_sends() -> list[str]:
        sent: list[str] = []
        ours.send_raw = sent.append
        getattr(ours, method)(**options)
        return sent

    assert outcome(ours_sends) == outcome(lambda: sent_by_vendor(theirs, lambda c: getattr(c, method)(**options)))


def test_parameters_are_left_as_they_are() -> None:
    """The caller's parameter object is not changed, as the vendor's SDK does, so that it can be used again."""
    ours: Any = our_omni.OmniRealtimeConversation("m", our_omni.OmniRealtimeCallback(), api_key="k")
    ours.send_raw = [].append
    params = our_omni.TranscriptionParams(corpus_text="terms")
    ours.update_session([], transcription_params=params)
    assert params == our_omni.TranscriptionParams(corpus_text="terms")
    assert params.corpus is None


def test_event_ids_are_unique_and_of_the_vendors_form() -> None:
    """Each event has an id of its own, ``event_`` and 32 hexadecimal digits."""
    ours: Any = our_tts.QwenTtsRealtime("m", api_key="k")
    theirs = vendor_tts.QwenTtsRealtime("m")
    sent: list[str] = []
    ours.send_raw = sent.append
    ours.commit()
    ours.commit()
    ids = [json.loads(text)["event_id"] for text in (*sent, *sent_by_vendor(theirs, lambda c: c.commit()))]
    assert len(set(ids)) == 3
    assert {(each[:6], len(each)) for each in ids} == {("event_", 38)}
    assert all(int(each[6:], 16) for each in ids)


def test_the_vendors_own_parameter_objects_are_taken() -> None:
    """A program that still imports enums and parameters from the vendor's SDK sends the same."""
    ours: Any = our_omni.OmniRealtimeConversation("m", our_omni.OmniRealtimeCallback(), api_key="k")
    sent: list[str] = []
    ours.send_raw = sent.append
    OMNI_CALLS["new formats"](ours, our_omni_module)
    OMNI_CALLS["new formats"](ours, vendor_omni_module)
    assert without_id(sent[0]) == without_id(sent[1])
