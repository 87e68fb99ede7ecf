"""What is wrong with a set-up, and what to do about it: key, model, network, session, sound.

Each check is a function of a :class:`Setup` that returns one :class:`Finding` and never raises; :func:`examine` runs
them in an order in which the first failure is the cause. Nothing is changed, and the key goes to the regions only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..errors import ConfigError
from ..settings import profile_of
from .account import check_key, check_model
from .network import check_clock, check_dns, check_proxy, check_tls
from .service import check_region, check_session
from .setup import Finding, Setup
from .sound import check_devices, check_loopback, check_portaudio

__all__ = [
    "Finding",
    "Setup",
    "check_clock",
    "check_devices",
    "check_dns",
    "check_key",
    "check_loopback",
    "check_model",
    "check_portaudio",
    "check_proxy",
    "check_region",
    "check_session",
    "check_tls",
    "examine",
]


def examine(setup: Setup) -> Iterator[Finding]:
    """Run all checks, each when the finding before it was taken; what cannot succeed any more is left out.

    Blocks on the network, ``timeout`` for each check, and on the sound card, about two seconds.
    """
    key = check_key(setup)
    yield key
    yield check_model(setup)
    try:
        profile_of(setup.model)
    except ConfigError:
        setup = replace(setup, model=Setup.model)  # the way to the server can be examined all the same
    yield from _network(setup, usable_key=key.status != "fail")
    if setup.with_sound:
        yield from _sound(setup)


def _network(setup: Setup, *, usable_key: bool) -> Iterator[Finding]:
    try:
        setup.endpoint()
    except ConfigError as error:
        yield Finding("url", "fail", error.message, error.hint)
        return
    for check in (check_proxy, check_dns, check_tls):
        finding = check(setup)
        yield finding
        if finding.name == "tls":
            yield check_clock(setup)  # a wrong one is the usual reason for a certificate that is not valid
        if finding.status == "fail":
            return
    if usable_key:
        region = check_region(setup)
        yield region
        if region.status != "fail":
            yield check_session(setup)


def _sound(setup: Setup) -> Iterator[Finding]:
    for check in (check_portaudio, check_devices, check_loopback):
        finding = check(setup)
        yield finding
        if finding.status == "fail":
            return
