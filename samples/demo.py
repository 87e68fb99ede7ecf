"""The main job on real input: the four families, one after the other, against the embedded local server.

Writes out/*.wav and out/transcript.txt, shows live what is said and heard, and ends with status 0 only when all of it
came out right.
"""

import re
import sys
import time
from pathlib import Path
from typing import Any

from where import human_recordings, service

from qwen_realtime import LiveTranslateClient, OmniClient, Speech, TTSClient, synthesize, transcribe

OUT = Path(sys.argv[1] if len(sys.argv) > 1 else "out")
TEXT = (
    "Good morning. This is a voice from ordinary, synchronous Python. "
    "The words arrive as text, and leave as sound, a little at a time."
)
PAUSE = bytes(2 * 16000 * 3 // 2)


def main() -> int:
    OUT.mkdir(exist_ok=True)
    began = time.monotonic()
    with service() as where:
        results = [speak(where), listen(where), converse(where), interpret(where)]
    print(f"\n{sum(results)} of {len(results)} came out right in {time.monotonic() - began:.1f} s; see {OUT}/")
    return 0 if all(results) else 1


def speak(where: dict[str, Any]) -> bool:
    title("1. Text becomes speech (TTS)")
    print(f"  text:  {TEXT}")
    speech = synthesize(TEXT, voice="Ethan", out=OUT / "speech.wav", **where)
    print(f"  heard: {speech.duration_ms / 1000:.2f} s of speech -> {OUT}/speech.wav")
    return speech.duration_ms > 4000


def listen(where: dict[str, Any]) -> bool:
    title("2. Speech becomes text (ASR)")
    recordings = human_recordings()
    if recordings:
        print("  a human reader (LibriVox, from Debian's pocketsphinx-testdata)")
        source: Any = joined([path for path, _ in recordings])
        said = " ".join(words for _, words in recordings)
    else:
        print("  no recording of a human voice is installed (pocketsphinx-testdata): a synthesised one")
        source, said = synthesize(TEXT, voice="Ethan", **where), TEXT
    transcript = transcribe(source, language="en", pace="realtime", on_partial=show, **where)
    settle(f"{len(transcript.utterances)} utterances:")
    for utterance in transcript.utterances:
        print(f"  {utterance.start_ms or 0:6d}–{utterance.end_ms or 0:6d} ms  {utterance.text}")
    error = word_error_rate(said, transcript.text)
    print(f"  said:  {said}\n  word error rate {error:.0%}")
    lines = [f"{each.start_ms}\t{each.end_ms}\t{each.text}\n" for each in transcript.utterances]
    (OUT / "transcript.txt").write_text("".join(lines), encoding="utf-8")
    return error < 0.5


def converse(where: dict[str, Any]) -> bool:
    title("3. A spoken question gets a spoken answer (Omni)")
    with TTSClient(voice="Ethan", mode="commit", **where) as voice:
        question = voice.say("What is seven plus five?")
    answer: list[bytes] = []
    texts: list[str] = []
    client = OmniClient(**where)
    client.on("conversation.item.input_audio_transcription.completed", lambda event: settle(f"> {event.transcript}"))
    client.on("response.audio_transcript.delta", lambda event: (texts.append(event.delta), show("".join(texts))))
    client.on("response.audio.delta", lambda event: answer.append(event.delta))
    with client, client.expect("response.done", timeout=30):
        client.stream(question)
    speech = Speech(b"".join(answer), client.output_rate)
    speech.save(OUT / "answer.wav")
    settle(f"{''.join(texts)}  ({speech.duration_ms / 1000:.2f} s -> {OUT}/answer.wav)")
    return "twelve" in "".join(texts).lower() and speech.duration_ms > 300


def interpret(where: dict[str, Any]) -> bool:
    title("4. Speech becomes speech in another language (LiveTranslate, English to Spanish)")
    recordings = [path for path, words in human_recordings() if "made amiable himself" in words]
    source: Any = recordings[0] if recordings else synthesize("Good morning. Where is the station?", **where)
    audio: list[bytes] = []
    texts: list[str] = []
    client = LiveTranslateClient(
        translation={"language": "es"}, input_audio_transcription={"model": "qwen3-asr-flash-realtime"}, **where
    )
    client.on("response.audio_transcript.text", lambda event: show(event.text + event.stash))
    client.on("response.audio_transcript.done", lambda event: texts.append(event.transcript.strip()))
    client.on(
        "conversation.item.input_audio_transcription.completed",
        lambda event: settle(f"en: {event.transcript}"),
    )
    client.on("response.audio.delta", lambda event: audio.append(event.delta))
    with client:
        client.stream(source)
    speech = Speech(b"".join(audio), client.output_rate)
    speech.save(OUT / "translation.wav")
    settle(f"es: {' '.join(texts)}  ({speech.duration_ms / 1000:.2f} s -> {OUT}/translation.wav)")
    return bool(texts) and speech.duration_ms > 500


def joined(paths: list[str]) -> Any:
    """Recordings one after the other, with pauses, at 16 kHz."""
    from qwen_realtime.audio.wav import read_wav

    return bytearray(PAUSE.join(read_wav(path, sample_rate=16000).pcm for path in paths))


def title(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}")


def show(draft: str) -> None:
    """Show a draft on the line where the final text will stand."""
    if sys.stdout.isatty():
        print(f"\r  … {draft[-100:]}\x1b[K", end="", flush=True)


def settle(text: str) -> None:
    """Put the final text in the place of the draft."""
    print(f"\r  {text}\x1b[K" if sys.stdout.isatty() else f"  {text}")


def word_error_rate(said: str, heard: str) -> float:
    """Words inserted, left out or replaced, per word said."""
    reference, hypothesis = (re.findall(r"[a-z']+", text.lower()) for text in (said, heard))
    row = list(range(len(hypothesis) + 1))
    for number, word in enumerate(reference, 1):
        above, row[0] = row[:], number
        for column, other in enumerate(hypothesis, 1):
            row[column] = min(above[column] + 1, row[column - 1] + 1, above[column - 1] + (word != other))
    return row[-1] / max(1, len(reference))


if __name__ == "__main__":
    sys.exit(main())
