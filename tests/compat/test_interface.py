"""The classes, methods, attributes and import paths are those of the installed SDK of the vendor."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import pytest

from qwen_realtime.compat.dashscope.audio import qwen_omni as our_omni
from qwen_realtime.compat.dashscope.audio import qwen_tts_realtime as our_tts
from qwen_realtime.compat.dashscope.audio.qwen_omni import omni_realtime as our_omni_module
from qwen_realtime.compat.dashscope.audio.qwen_tts_realtime import qwen_tts_realtime as our_tts_module

vendor: Any = pytest.importorskip("dashscope", reason="the vendor's SDK is in the extra dev")
vendor_omni: Any = vendor.audio.qwen_omni
vendor_tts: Any = vendor.audio.qwen_tts_realtime
vendor_omni_module: Any = vendor_omni.omni_realtime
vendor_tts_module: Any = vendor_tts.qwen_tts_realtime


def signature(function: Any) -> list[tuple[str, Any, str]]:
    """Names, kinds and defaults of a function's parameters."""
    return [(p.name, p.kind, repr(p.default)) for p in inspect.signature(function).parameters.values()]


CLASSES = [
    (our_omni.OmniRealtimeConversation, vendor_omni.OmniRealtimeConversation),
    (our_omni.OmniRealtimeCallback, vendor_omni.OmniRealtimeCallback),
    (our_tts.QwenTtsRealtime, vendor_tts.QwenTtsRealtime),
    (our_tts.QwenTtsRealtimeCallback, vendor_tts.QwenTtsRealtimeCallback),
]


@pytest.mark.parametrize(("ours", "theirs"), CLASSES, ids=lambda cls: f"{cls.__module__}.{cls.__name__}")
def test_methods_have_the_vendors_parameters(ours: Any, theirs: Any) -> None:
    """Every public method is there, with the same parameters in the same order and the same defaults."""
    methods = [name for name, _ in inspect.getmembers(theirs, inspect.isfunction) if not name.startswith("_")]
    assert methods
    for name in methods:
        assert signature(getattr(ours, name)) == signature(getattr(theirs, name)), name


def test_objects_are_made_with_the_vendors_parameters() -> None:
    """The constructors take the same in the same order; synthesis takes a key too, which the vendor's does not."""
    assert signature(our_omni.OmniRealtimeConversation) == signature(vendor_omni.OmniRealtimeConversation)
    *ours, more = signature(our_tts.QwenTtsRealtime)
    assert ours == signature(vendor_tts.QwenTtsRealtime)
    assert more == ("api_key", inspect.Parameter.KEYWORD_ONLY, "None")


@pytest.mark.parametrize("kind", ["omni", "tts"])
def test_attributes_of_a_new_object_are_the_vendors(kind: str) -> None:
    """Every public attribute is there with the same value, but for the URL of a URL that has a query already."""
    if kind == "omni":
        theirs = vendor_omni.OmniRealtimeConversation(
            "m", vendor_omni.OmniRealtimeCallback(), {"a": "b"}, "w", None, "k"
        )
        ours: Any = our_omni.OmniRealtimeConversation("m", theirs.callback, {"a": "b"}, "w", None, "k")
    else:
        theirs = vendor_tts.QwenTtsRealtime("m", {"a": "b"}, vendor_tts.QwenTtsRealtimeCallback(), "w", "wss://h/p")
        ours = our_tts.QwenTtsRealtime("m", {"a": "b"}, theirs.callback, "w", "wss://h/p")
    for name, value in vars(theirs).items():
        if not name.startswith("_"):
            assert getattr(ours, name) == value, name


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (our_omni, vendor_omni),
        (our_omni_module, vendor_omni_module),
        (our_tts, vendor_tts),
        (our_tts_module, vendor_tts_module),
    ],
    ids=lambda module: str(module.__name__),
)
def test_names_can_be_imported_from_the_vendors_paths(ours: Any, theirs: Any) -> None:
    """What the vendor's module defines and ``import *`` brings can be imported from ours."""
    defined = [
        name
        for name, value in vars(theirs).items()
        if inspect.isclass(value) and value.__module__.startswith("dashscope.audio")
    ]
    assert len(defined) >= 3
    assert not [name for name in (*defined, *getattr(theirs, "__all__", [])) if not hasattr(ours, name)]
    assert set(getattr(theirs, "__all__", defined)) <= set(ours.__all__)


ENUMS = [
    (getattr(ours, name), getattr(theirs, name))
    for ours, theirs, names in (
        (our_omni_module, vendor_omni_module, ("AudioFormat", "AudioFormatType", "AudioSampleRate", "MultiModality")),
        (our_tts_module, vendor_tts_module, ("AudioFormat",)),
    )
    for name in names
]


@pytest.mark.parametrize(("ours", "theirs"), ENUMS, ids=lambda enum: f"{enum.__module__}.{enum.__name__}")
def test_enums_have_the_vendors_members(ours: Any, theirs: Any) -> None:
    """Names, values, attributes and texts of all members are the same."""
    assert [member.name for member in ours] == [member.name for member in theirs]
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine.value, str(mine)) == (other.value, str(other))
        for attribute in ("format", "sample_rate", "channels", "bit_rate", "format_str"):
            assert getattr(mine, attribute, None) == getattr(other, attribute, None)
        if ours.__name__ == "AudioFormat":
            assert repr(mine) == repr(other)
        if ours.__name__ == "AudioSampleRate":
            assert int(mine) == int(other)


@pytest.mark.parametrize("name", ["AudioFormatConfig", "TranscriptionParams", "TranslationParams"])
def test_parameter_classes_have_the_vendors_fields(name: str) -> None:
    """Fields come in the same order and with the same defaults."""
    ours, theirs = getattr(our_omni_module, name), getattr(vendor_omni_module, name)
    assert signature(ours) == signature(theirs)
    assert dataclasses.asdict(ours()) == dataclasses.asdict(theirs())
