"""A spoken question gets a spoken answer: python omni_voice_file.py [question.wav]. Writes answer.wav."""

import sys

from where import service

from qwen_realtime import OmniClient, Speech, TTSClient, events


def main() -> None:
    answer: list[bytes] = []
    with service() as where:
        if len(sys.argv) > 1:
            question: str | Speech = sys.argv[1]
        else:
            with TTSClient(voice="Ethan", mode="commit", **where) as voice:
                question = voice.say("What is seven plus five?")
        client = OmniClient(**where)

        @client.on("conversation.item.input_audio_transcription.completed")
        def heard(event: events.ConversationItemInputAudioTranscriptionCompleted) -> None:
            print(f"> {event.transcript}")

        @client.on("response.audio_transcript.done")
        def said(event: events.ResponseAudioTranscriptDone) -> None:
            print(event.transcript)

        @client.on("response.audio.delta")
        def hear(event: events.ResponseAudioDelta) -> None:
            answer.append(event.delta)

        with client, client.expect("response.done", timeout=30):
            client.stream(question)  # with the silence after it that ends the utterance
        speech = Speech(b"".join(answer), client.output_rate)
    speech.save("answer.wav")
    print(f"answer.wav: {speech.duration_ms / 1000:.2f} s")


if __name__ == "__main__":
    main()
