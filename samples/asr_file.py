"""A recording becomes text, with captions as they grow: python asr_file.py [recording.wav]."""

from where import recording, service

from qwen_realtime import ASRClient, events


def main() -> None:
    with service() as where:
        client = ASRClient(input_audio_transcription={"language": "en"}, **where)

        @client.on("conversation.item.input_audio_transcription.text")
        def draft(event: events.ConversationItemInputAudioTranscriptionText) -> None:
            # text is confirmed, stash may still change: show both
            print(f"\r  … {event.text + event.stash}\x1b[K", end="", flush=True)

        @client.on("conversation.item.input_audio_transcription.completed")
        def final(event: events.ConversationItemInputAudioTranscriptionCompleted) -> None:
            print(f"\r{event.transcript}\x1b[K")

        @client.on("input_audio_buffer.speech_started")
        def started(event: events.InputAudioBufferSpeechStarted) -> None:
            print(f"speech from {event.audio_start_ms} ms")

        source = recording(where)
        with client:
            client.stream(source, pace="realtime")


if __name__ == "__main__":
    main()
