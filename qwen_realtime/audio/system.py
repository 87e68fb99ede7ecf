"""What sound needs of the operating system: how to install PyAudio, and quiet from its libraries."""

from __future__ import annotations

import ctypes
import platform
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def install_line() -> str:
    """Return the shell line that installs PyAudio on this operating system."""
    pip = f"{Path(sys.executable).name or 'python'} -m pip install pyaudio"
    if platform.system() == "Windows":
        return f"install it: {pip}"
    if platform.system() == "Darwin":
        return f"install it: brew install portaudio && {pip}"
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    family = f"{release.get('ID', '')} {release.get('ID_LIKE', '')}".split()
    if {"fedora", "rhel", "centos"} & set(family):
        return f"install it: sudo dnf install -y gcc python3-devel portaudio-devel && {pip}"
    if "arch" in family:
        return f"install it: sudo pacman -S --needed base-devel portaudio && {pip}"
    if "suse" in family or "opensuse" in family:
        return f"install it: sudo zypper install -y gcc python3-devel portaudio-devel && {pip}"
    return f"install it: sudo apt-get install -y gcc python3-dev portaudio19-dev && {pip}"


# They must live as long as the libraries may call them.
_SILENCES: dict[tuple[str, str], Callable[..., object]] = {
    ("libasound.so.2", "snd_lib_error_set_handler"): ctypes.CFUNCTYPE(
        None, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p
    )(lambda *_: None),
    ("libjack.so.0", "jack_set_error_function"): ctypes.CFUNCTYPE(None, ctypes.c_char_p)(lambda _: None),
}

_counting = threading.Lock()  # guards _hushers; held for two calls of a library
_hushers = 0


@contextmanager
def hushed() -> Iterator[None]:
    """Keep ALSA and JACK from printing dozens of lines about what they miss while PortAudio looks for devices.

    The libraries speak again when nobody wants them hushed any more, on whichever thread that is.
    """
    _hush(+1)
    try:
        yield
    finally:
        _hush(-1)


def _hush(change: int) -> None:
    global _hushers
    with _counting:
        before, _hushers = _hushers, _hushers + change
        if before and _hushers:
            return
        for (library, function), silence in _SILENCES.items():
            with suppress(OSError, AttributeError):
                getattr(ctypes.CDLL(library), function)(silence if _hushers else None)
