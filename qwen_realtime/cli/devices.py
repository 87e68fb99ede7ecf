"""``devices``: the sound devices there are."""

from __future__ import annotations

from dataclasses import asdict

import click
from rich import box
from rich.table import Table

from ..errors import DeviceError
from .options import writing
from .output import Screen

__all__ = ["devices"]


@click.command(short_help="List the sound devices.")
@writing
def devices(screen: Screen) -> None:
    """List the sound devices; --device and --microphone take the number or a part of the name."""
    from ..audio import list_devices

    found = list_devices()
    if not found:
        raise DeviceError("there are no sound devices", hint="plug one in, or use files: -o speech.wav")
    if screen.as_json:
        for each in found:
            screen.result(type="device", **asdict(each))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading, justify in (("no.", "right"), ("name", "left"), ("in", "right"), ("out", "right"), ("Hz", "right")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    table.add_column("system", style="dim")
    table.add_column("default")
    for each in found:
        used = " ".join(word for word, is_so in (("in", each.default_input), ("out", each.default_output)) if is_so)
        style = "bold" if used else ""
        channels = (str(each.inputs or ""), str(each.outputs or ""))
        table.add_row(str(each.index), each.name, *channels, str(each.sample_rate), each.host_api, used, style=style)
    screen.table(table)
