"""Every sample runs to a good end against the local server, and the demo with them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SAMPLES = Path(__file__).parent.parent / "samples"
NEED_SOUND = {"speak_aloud.py", "microphone_captions.py", "voice_chat.py", "live_interpreter.py"}
SUPPORT = {"where.py", "demo.py"}
OFFLINE = sorted(path.name for path in SAMPLES.glob("*.py") if path.name not in NEED_SOUND | SUPPORT)

SAYS = {
    "many_files.py": "transcribed on",
    "tts.py": "tts.wav:",
    "asr_file.py": "amiable",
    "omni_text.py": "twelve",
    "omni_voice_file.py": "twelve",
    "function_call.py": "18 degrees",
    "live_translate.py": "es: ",
    "embed_in_main_loop.py": "handled on the main thread",
}


def run(name: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a sample as its user would, in a folder of its own."""
    return subprocess.run(
        [sys.executable, "-W", "error", str(SAMPLES / name)],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_there_is_an_expectation_for_each_sample() -> None:
    """A sample that nobody checks fails here."""
    assert sorted(SAYS) == OFFLINE


@pytest.mark.parametrize("name", OFFLINE)
def test_the_sample_does_what_it_says(name: str, tmp_path: Path) -> None:
    """It ends with status 0, prints what it is about, and complains about nothing."""
    ended = run(name, tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert SAYS[name] in ended.stdout
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("name", sorted(NEED_SOUND))
def test_a_sample_without_a_sound_card_says_what_is_missing(name: str, tmp_path: Path) -> None:
    """One line that names the cause, no traceback, and a status that is not 0."""
    (tmp_path / "asound.conf").write_text("</usr/share/alsa/alsa.conf>\n", encoding="utf-8")
    ended = run(name, tmp_path, ALSA_CONFIG_PATH=str(tmp_path / "asound.conf"), PULSE_SERVER="unix:/nowhere")
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "device" in ended.stderr


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_a_sample_is_short(path: Path) -> None:
    """One idea, sixty lines; the demo is four ideas."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= (160 if path.name == "demo.py" else 60)
