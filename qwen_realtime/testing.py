"""A pytest plugin: the fixture ``qwen_realtime_server`` gives tests a local server of the realtime service.

It needs the extra ``local``. The engines start once for the whole run, a server with nothing remembered for each test::

    def test_it_speaks(qwen_realtime_server):
        with TTSClient(url=qwen_realtime_server.url, api_key="any") as client:
            assert client.say("Hello.").pcm
        assert qwen_realtime_server.last_session.text_characters == 6
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .server import LocalServer
    from .server.engines import Engines

__all__ = ["qwen_realtime_engines", "qwen_realtime_server"]


@pytest.fixture(scope="session")
def qwen_realtime_engines() -> Iterator[Engines]:
    """The engines of all local servers of a run; their processes start at the first use and end with the run."""
    from .server.engines import Engines

    engines = Engines()
    yield engines
    engines.close()


@pytest.fixture
def qwen_realtime_server(qwen_realtime_engines: Engines) -> Iterator[LocalServer]:
    """A local server on a free port, closed after the test."""
    from .server import LocalServer

    with LocalServer(engines=qwen_realtime_engines) as server:
        yield server
