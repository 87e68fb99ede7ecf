"""Speech becomes speech in another language: python live_translate.py [recording.wav]. Writes translation.wav."""

from where import recording, service

from qwen_realtime import LiveTranslateClient, Speech, events


def main() -> None:
    audio: list[bytes] = []
    with service() as where:
        client = LiveTranslateClient(
            translation={"language": "es"},
            input_audio_transcription={"model": "qwen3-asr-flash-realtime", "language": "en"},
            **where,
        )

        @client.on("response.audio_transcript.text")
        def draft(event: events.ResponseAudioTranscriptText) -> None:
            print(f"\r  … {event.text + event.stash}\x1b[K", end="", flush=True)

        @client.on("response.audio_transcript.done")
        def final(event: events.ResponseAudioTranscriptDone) -> None:
            print(f"\res: {event.transcript}\x1b[K")

        @client.on("conversation.item.input_audio_transcription.completed")
        def heard(event: events.ConversationItemInputAudioTranscriptionCompleted) -> None:
            print(f"en: {event.transcript}")

        @client.on("response.audio.delta")
        def hear(event: events.ResponseAudioDelta) -> None:
            audio.append(event.delta)

        source = recording(where)
        with client:
            client.stream(source)
        speech = Speech(b"".join(audio), client.output_rate)
    speech.save("translation.wav")
    print(f"translation.wav: {speech.duration_ms / 1000:.2f} s")


if __name__ == "__main__":
    main()
