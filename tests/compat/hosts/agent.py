"""An agent whose words are spoken while they are written, by AgentScope's realtime TTS model."""

import asyncio
import base64
import os
import sys
import types
from pathlib import Path

# the package without its front door, which imports all that agents can do
package = sys.modules["agentscope"] = types.ModuleType("agentscope")
package.__path__ = [str(Path(__file__).with_name("agentscope"))]

from agentscope.message import Msg  # type: ignore[import-not-found]  # noqa: E402
from agentscope.tts import DashScopeRealtimeTTSModel  # type: ignore[import-not-found]  # noqa: E402 - the program

WORDS = "Good morning, everybody. The train is late, and it rains."


async def main() -> None:
    """Push growing text, as the agent does, and fetch the sound."""
    model = DashScopeRealtimeTTSModel(api_key=os.environ["DASHSCOPE_API_KEY"], stream=False)
    async with model:
        message = Msg("agent", "", "assistant")
        for end in range(10, len(WORDS) + 10, 10):
            message.content = WORDS[:end]
            await model.push(message)
        spoken = await model.synthesize(message)
        sound = base64.b64decode(spoken.content["source"]["data"])
        print(f"spoken: {len(sound) / 48000:.1f} s")
    print("closed")


asyncio.run(main())
