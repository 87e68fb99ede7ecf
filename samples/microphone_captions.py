"""Live captions from the microphone, and a subtitle file: python microphone_captions.py [captions.srt]."""

import sys

from where import service

from qwen_realtime import ASRClient, AudioError, Microphone, events
from qwen_realtime.subtitles import SubtitleWriter


def main() -> int:
    path = sys.argv[1] if len(sys.argv) > 1 else "captions.srt"
    try:
        with service() as where, Microphone(16000) as microphone, SubtitleWriter(path) as subtitles:
            client = ASRClient(input_audio_transcription={"language": "en"}, **where)
            subtitles.attach(client)

            @client.on("conversation.item.input_audio_transcription.text")
            def draft(event: events.ConversationItemInputAudioTranscriptionText) -> None:
                print(f"\r{event.text}\x1b[2m{event.stash}\x1b[0m\x1b[K", end="", flush=True)

            @client.on("conversation.item.input_audio_transcription.completed")
            def final(event: events.ConversationItemInputAudioTranscriptionCompleted) -> None:
                print(f"\r{event.transcript}\x1b[K")

            with client:
                microphone.attach(client)
                print("listening; Ctrl-C ends", file=sys.stderr)
                try:
                    client.wait()
                except KeyboardInterrupt:
                    microphone.close()  # and the end of the block waits for the last words
    except AudioError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{subtitles.cues} cues in {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
