"""``doctor``: what is wrong with this set-up, and what to do about it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import click
from rich.text import Text

from ..endpoints import REGIONS
from .hearing import device_of
from .options import Target, connecting

__all__ = ["doctor"]

_MARKS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "bold red")}


@click.command(short_help="Find out what is wrong and what to do about it.")
@click.option("--sound/--no-sound", default=True, show_default=True, help="The sound card, too: a second of tone.")
@click.option("--device", help="Output device: its number or part of its name; see devices.")
@click.option("--microphone", "input_device", help="Input device, likewise.")
@connecting()
def doctor(target: Target, sound: bool, device: str | None, input_device: str | None) -> int:
    """Examine key, model, network and sound. Each line ends in what to do; the status is 0 if nothing failed."""
    from ..doctor import Setup, examine

    screen = target.screen
    options: dict[str, Any] = {
        name: target.options[name] for name in ("proxy", "region", "model") if name in target.options
    }
    with _regions(target) as (regions, key):
        setup = Setup(
            key=key,
            regions=regions,
            timeout=target.options["connect_timeout"],
            with_sound=sound,
            output_device=device_of(device),
            input_device=device_of(input_device),
            **options,
        )
        failed = 0
        for finding in examine(setup):
            failed += finding.status == "fail"
            mark, style = _MARKS[finding.status]
            name = Text(f"{mark} ", style=style).append(f"{finding.name:<10}", style="not bold default")
            told = Text(finding.what).append(f" → {finding.remedy}" if finding.remedy else "", style="cyan")
            screen.table_row(name, told, type="finding", **finding._asdict())
    return 1 if failed else 0


@contextmanager
def _regions(target: Target) -> Iterator[tuple[dict[str, str], str]]:
    """The regions to ask, and the key; with ``--local`` a server of our own."""
    if target.local:
        with target.service() as where:
            yield {"local": where["url"]}, where["api_key"]
        return
    url = target.options.get("url") or os.environ.get("QWEN_REALTIME_URL")
    key = target.api_key or os.environ.get("DASHSCOPE_API_KEY") or ""
    yield ({urlsplit(url).netloc or url: url} if url else dict(REGIONS)), key
