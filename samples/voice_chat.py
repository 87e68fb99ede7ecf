"""Talk with the model; speak up and it falls silent: python voice_chat.py [--push-to-talk] [--speakers].

With --push-to-talk, Enter begins and ends what you say. With --speakers the microphone is silent while the model
speaks, so that it does not hear itself; without, wear headphones. Ctrl-C ends.
"""

import sys

from where import service

from qwen_realtime import AudioError, AudioPlayer, Microphone, OmniClient
from qwen_realtime.voice import MicrophoneAttachment


def main() -> int:
    push_to_talk = "--push-to-talk" in sys.argv
    settings = {"turn_detection": None} if push_to_talk else {}
    try:
        with service() as where, AudioPlayer(24000) as player, Microphone(16000) as microphone:
            client = OmniClient(**settings, **where)
            client.on(
                "conversation.item.input_audio_transcription.completed", lambda event: print("\n>", event.transcript)
            )
            client.on("response.audio_transcript.delta", lambda event: print(event.delta, end="", flush=True))
            player.attach(client)
            with client:
                feed = microphone.attach(client, echo="half-duplex" if "--speakers" in sys.argv else "headphones")
                try:
                    if push_to_talk:
                        talk(client, feed)
                    else:
                        print("speak; Ctrl-C ends", file=sys.stderr)
                        client.wait()
                except KeyboardInterrupt:
                    client.close()
    except AudioError as error:
        print(error, file=sys.stderr)
        return 1
    for what, spread in client.metrics.summary().items():
        print(f"{what:12} p50 {spread.p50:6.0f} ms   p95 {spread.p95:6.0f} ms   ({spread.count} turns)")
    return 0


def talk(client: OmniClient, feed: MicrophoneAttachment) -> None:
    """Send only between two presses of Enter."""
    feed.pause()
    while True:
        input("\nEnter to speak … ")
        client.cancel_response()
        feed.resume()
        input("… Enter when you have said it")
        feed.pause()
        client.commit()
        client.create_response()


if __name__ == "__main__":
    sys.exit(main())
