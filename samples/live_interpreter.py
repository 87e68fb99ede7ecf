"""Speak English, hear Spanish, with bilingual subtitles: python live_interpreter.py [subtitles.vtt]. Ctrl-C ends it."""

import sys

from where import service

from qwen_realtime import AudioError, AudioPlayer, LiveTranslateClient, Microphone
from qwen_realtime.subtitles import SubtitleWriter


def main() -> int:
    path = sys.argv[1] if len(sys.argv) > 1 else "subtitles.vtt"
    try:
        with (
            service() as where,
            AudioPlayer(24000) as player,
            Microphone(16000) as microphone,
            SubtitleWriter(path) as subtitles,
        ):
            client = LiveTranslateClient(
                translation={"language": "es"},
                input_audio_transcription={"model": "qwen3-asr-flash-realtime", "language": "en"},
                **where,
            )
            player.attach(client)
            subtitles.attach(client)
            client.on(
                "conversation.item.input_audio_transcription.completed", lambda event: print("en:", event.transcript)
            )
            client.on("response.audio_transcript.done", lambda event: print("es:", event.transcript))
            with client:
                microphone.attach(client, echo="half-duplex")
                print("speak; Ctrl-C ends", file=sys.stderr)
                try:
                    client.wait()
                except KeyboardInterrupt:
                    microphone.close()
    except AudioError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{subtitles.cues} cues in {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
