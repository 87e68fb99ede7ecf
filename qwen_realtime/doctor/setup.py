"""What is examined, and what an examination finds."""

import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ..endpoints import REGIONS, Endpoint, resolve
from ..protocol import Family
from ..settings import DEFAULT_MODELS, profile_of

if TYPE_CHECKING:
    from ..audio import AudioInput, AudioOutput, Device

__all__ = ["Finding", "Setup"]


class Finding(NamedTuple):
    """What one check has found.

    Attributes:
        name: of the check, one word.
        status: ``"ok"``, ``"warn"`` or ``"fail"``.
        what: is the case, in one line.
        remedy: what to do about it; empty where all is well.
    """

    name: str
    status: Literal["ok", "warn", "fail"]
    what: str
    remedy: str = ""


@dataclass(frozen=True)
class Setup:
    """What to examine.

    Attributes:
        key: the API key; may be empty.
        model: to ask for.
        region: the one that is to be used, one of ``regions``; the first where it is not among them.
        regions: names and URLs; the key is tried with each.
        proxy: ``None`` for the environment's, ``""`` for none.
        ssl_context: in place of the default one.
        timeout: seconds for each check that waits for the network.
        with_sound: examine the sound card, too: play a tone and listen to it.
        output_device: number or part of a name; ``None`` for the default.
        input_device: likewise.
        output: plays in place of a device.
        source: is heard in place of one.
        now: seconds since 1970, as this machine believes.
        lookup: finds the addresses of a name, as ``socket.getaddrinfo`` does.
        devices: lists the sound devices; ``None`` for the system's.
    """

    key: str = ""
    model: str = DEFAULT_MODELS[Family.TTS]
    region: str = "intl"
    regions: Mapping[str, str] = field(default_factory=lambda: REGIONS)
    proxy: str | None = None
    ssl_context: ssl.SSLContext | None = None
    timeout: float = 10.0
    with_sound: bool = True
    output_device: int | str | None = None
    input_device: int | str | None = None
    output: "AudioOutput | None" = None
    source: "AudioInput | None" = None
    now: Callable[[], float] = time.time
    lookup: Callable[..., list[Any]] = socket.getaddrinfo
    devices: "Callable[[], list[Device]] | None" = None

    @property
    def chosen(self) -> str:
        """The region that is to be used."""
        return self.region if self.region in self.regions else next(iter(self.regions))

    def endpoint(self, region: str = "") -> Endpoint:
        """Where a region is; raises ``ConfigError`` for an impossible URL or model."""
        url = self.regions[region or self.chosen]
        family = profile_of(self.model).family
        return resolve(family=family, model=self.model, url=url, region="intl", workspace=None, headers=None)
