"""Ask a question twice, deciding when a turn ends. Arguments: URL, file of 16 kHz PCM."""

# ruff: noqa - written as programs for the vendor's SDK are

import base64
import os
import sys
import threading

import dashscope
from dashscope.audio.qwen_omni import *

conversation = None


def init_dashscope_api_key():
    if "DASHSCOPE_API_KEY" in os.environ:
        dashscope.api_key = os.environ["DASHSCOPE_API_KEY"]
    else:
        dashscope.api_key = "<your-dashscope-api-key>"


class MyCallback(OmniRealtimeCallback):
    def __init__(self):
        super().__init__()
        self.complete_event: threading.Event = threading.Event()
        self.answer = ""

    def wait_for_complete(self):
        assert self.complete_event.wait(20)
        self.complete_event = threading.Event()

    def on_open(self) -> None:
        print("opened")

    def on_close(self, close_status_code, close_msg) -> None:
        print("closed")
        sys.exit(0)

    def on_event(self, response: str) -> None:
        global conversation
        try:
            type = response["type"]
            print("event", type)
            if "conversation.item.input_audio_transcription.completed" == type:
                print("result question", response["transcript"])
            if "response.audio_transcript.delta" == type:
                self.answer += response["delta"]
            if "response.done" == type:
                assert conversation.get_last_response_id() == response["response"]["id"]
                assert conversation.get_last_first_text_delay() >= 0
                assert conversation.get_last_first_audio_delay() >= 0
                self.complete_event.set()
        except Exception as e:
            print("[Error]", repr(e))


init_dashscope_api_key()
callback = MyCallback()
conversation = OmniRealtimeConversation(model="qwen-omni-turbo-realtime-latest", callback=callback, url=sys.argv[1])
conversation.connect()
conversation.update_session(
    output_modalities=[MultiModality.AUDIO, MultiModality.TEXT],
    voice="Chelsie",
    input_audio_format=AudioFormat.PCM_16000HZ_MONO_16BIT,
    output_audio_format=AudioFormat.PCM_24000HZ_MONO_16BIT,
    enable_input_audio_transcription=True,
    input_audio_transcription_model="gummy-realtime-v1",
    enable_turn_detection=False,
)
for _ in range(2):
    with open(sys.argv[2], "rb") as f:
        while True:
            audio_data = f.read(3200)
            if not audio_data:
                break
            conversation.append_audio(base64.b64encode(audio_data).decode("ascii"))
    conversation.commit()
    conversation.create_response()
    callback.wait_for_complete()
conversation.end_session()
print("result answer", callback.answer)
conversation.close()
