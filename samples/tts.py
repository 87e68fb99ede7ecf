"""Text becomes speech: python tts.py ["what to say"]. Writes tts.wav."""

import sys
import time

from where import service

from qwen_realtime import TTSClient, events


def main() -> None:
    text = sys.argv[1] if len(sys.argv) > 1 else "Hello. I am speaking from ordinary, synchronous Python."
    chunks: list[bytes] = []
    with service() as where:
        client = TTSClient(voice="Ethan", **where)

        @client.on("response.audio.delta")
        def hear(event: events.ResponseAudioDelta) -> None:
            if not chunks:
                print(f"first audio after {(time.monotonic() - began) * 1000:.0f} ms")
            chunks.append(event.delta)

        with client:
            began = time.monotonic()
            for word in text.split(" "):  # as it might come from a language model
                client.append_text(word + " ")
        # leaving the block has finished the session: all audio is there
        speech = client.speech(b"".join(chunks), text)
    speech.save("tts.wav")
    print(f"tts.wav: {speech.duration_ms / 1000:.2f} s at {speech.sample_rate} Hz")


if __name__ == "__main__":
    main()
