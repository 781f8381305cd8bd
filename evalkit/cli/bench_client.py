"""`evalkit bench-client`: is evalkit's client the bottleneck? What asking costs on this machine, without a model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import click

from evalkit.cli import options
from evalkit.resources import data_folder


@click.command("bench-client")
@click.option("--requests", type=click.IntRange(min=1), default=6000, show_default=True, help="Requests in each row.")
@click.option(
    "--concurrency",
    "in_flight",
    type=click.IntRange(1, 4096),
    default=64,
    show_default=True,
    help="Requests in flight at a time.",
)
@click.option("--stream", is_flag=True, help="Streamed answers of 250 events.")
@click.option(
    "--client",
    type=click.Choice(["aiohttp", "openai"]),
    default="aiohttp",
    show_default=True,
    help="The client of the configuration's `client:`.",
)
@options.as_json
def command(**settings: Any) -> int:
    """Measure what evalkit's own client costs, on a loopback server that it starts.

    The server answers at once, so requests/s is the most that this machine can ask for with one process, and CPU per
    request is what a run takes from whatever else the machine does. Rows: the floor (the HTTP library with nothing
    around it), the client, and the client with what a run has around it. Compare rows of one call, not of two machines.
    """
    program, told = data_folder("bench") / "asking.py", json.dumps(settings)
    env = {**os.environ, "PYTHONSAFEPATH": ""}  # it imports its neighbour
    done = subprocess.run((sys.executable, str(program), told), stdout=subprocess.PIPE, text=True, check=False, env=env)  # noqa: S603
    click.echo(done.stdout, nl=False)
    return done.returncode
