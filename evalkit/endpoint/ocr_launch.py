"""Starts the text recogniser of `launch: {kind: ocr}` as a child process; what is not installed is said at once."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import evalkit
from evalkit.config import OcrLaunch
from evalkit.endpoint.guarded import Command
from evalkit.endpoint.launch import LOCAL, Server, free_port, refuse_a_taken_port
from evalkit.endpoint.ocr_engines import check_engine

PACKAGE_HOME: Final = Path(evalkit.__file__).resolve().parent.parent
STOP_SECONDS: Final = 5.0


@asynccontextmanager
async def ocr_server(config: OcrLaunch, log_file: Path) -> AsyncIterator[Server]:
    """The command that serves `config`.

    Raises:
        LaunchError: the engine or its language data are not installed, or the port is taken.
    """
    await asyncio.to_thread(check_engine, config.engine, "+".join(config.languages))
    if config.port:
        await refuse_a_taken_port(LOCAL, config.port, "set launch.port to 0 for a free one")
    port = config.port or free_port()
    command = Command(
        argv=(sys.executable, "-P", "-m", "evalkit.endpoint.ocr", *_arguments(config, port)),
        log_file=log_file,
        env={**config.env, "PYTHONPATH": _python_path(config)},
        stop_seconds=STOP_SECONDS,
        title=f"evalkit's server around {config.engine}",
    )
    yield Server(command, lambda: f"http://{LOCAL}:{port}/v1", "/health", config.ready_seconds)


def _arguments(config: OcrLaunch, port: int) -> list[str]:
    damage = [] if config.degrade.shrink == 1 else [f"shrink:{config.degrade.shrink}"]
    damage += [] if config.degrade.jpeg is None else [f"jpeg:{config.degrade.jpeg}"]
    return [
        *("--engine", config.engine, "--model", config.engine, "--language", "+".join(config.languages)),
        *("--degrade", ",".join(damage), "--max-images", str(config.max_images), "--port", str(port)),
    ]


def _python_path(config: OcrLaunch) -> str:
    """This evalkit, wherever the command is started."""
    given = config.env.get("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    return os.pathsep.join((str(PACKAGE_HOME), given)).rstrip(os.pathsep)
