"""Text becomes sound in the room: python speak_aloud.py ["what to say"]."""

import sys

from where import service

from qwen_realtime import AudioError, AudioPlayer, TTSClient


def main() -> int:
    text = sys.argv[1] if len(sys.argv) > 1 else "Hello. You are hearing me from ordinary, synchronous Python."
    try:
        with service() as where, AudioPlayer(24000) as player:
            client = TTSClient(**where)
            player.attach(client)
            with client:
                client.append_text(text)
            # here all audio has come; leaving the block plays it to the end
    except AudioError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"played {player.played_ms / 1000:.2f} s, {player.underruns} underruns")
    return 0


if __name__ == "__main__":
    sys.exit(main())
