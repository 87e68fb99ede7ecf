"""Handlers on your own thread, inside a loop that you own: python embed_in_main_loop.py.

With dispatch="manual" no handler runs until you call poll(); fileno() tells select, Tk's createfilehandler or
QSocketNotifier when there is something to poll.
"""

import select
import threading

from where import service

from qwen_realtime import TTSClient, events


def main() -> None:
    with service() as where:
        client = TTSClient(voice="Ethan", mode="commit", dispatch="manual", **where).connect()
        done: list[bool] = []
        received = [0]

        @client.on("response.audio.delta")
        def hear(event: events.ResponseAudioDelta) -> None:
            assert threading.current_thread() is threading.main_thread()
            received[0] += len(event.delta)

        @client.on("response.done")
        def finished(event: events.ResponseDone) -> None:
            done.append(True)

        client.append_text("This was heard on the main thread.")
        client.commit()
        ticks = 0
        while not done:
            readable, _, _ = select.select([client.fileno()], [], [], 0.02)
            if readable:
                client.poll()
            ticks += 1  # here the program does what it always did
        client.finish()
        seconds = received[0] / 2 / client.output_rate
        print(f"{seconds:.2f} s of speech, handled on the main thread in {ticks} turns of its loop")


if __name__ == "__main__":
    main()
