"""Starts what a FlagScale serve configuration describes, by `flagscale serve`, on this machine.

FlagScale writes a script, starts it in the background and returns; the engine's output goes to a log below its working
folder. The guard adopts what is left running and ends it by process number. FlagScale's own `stop` is never used: it
ends every Python process of the machine.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from evalkit.config import FlagScaleLaunch
from evalkit.config.flagscale import FlagScaleServe, FromCommandLine, read_flagscale
from evalkit.endpoint.guarded import Command
from evalkit.endpoint.launch import Server, host_and_port, refuse_a_taken_port
from evalkit.errors import LaunchError

HEALTH_PATH = "/v1/models"


@asynccontextmanager
async def flagscale_server(config: FlagScaleLaunch, base_url_hint: str | None, log_file: Path) -> AsyncIterator[Server]:
    """The command that serves `config`; it answers at the hint, else where the serve configuration says.

    Raises:
        ConfigError: the serve configuration cannot be read.
        LaunchError: none is named, or the port is taken.
    """
    if config.config is None:
        raise LaunchError("launch: kind flagscale needs `flagscale:`, the path of a serve configuration")
    told = FromCommandLine(config.port, config.model_path, config.engine_args)
    serve = read_flagscale(config.config, told=told)
    base_url = base_url_hint or serve.base_url
    command = Command(
        argv=_argv(config, serve),
        log_file=config.log or log_file,
        env={**_variables(config), **config.env},
        cwd=config.cwd,
        stop_seconds=config.stop_seconds,
        other_logs=((config.cwd or Path()) / serve.log,),
    )
    host, port = host_and_port(base_url)
    await refuse_a_taken_port(host, port, "set launch.port, or the port of the serve configuration, to another one")
    yield Server(command, lambda: base_url, HEALTH_PATH, config.ready_seconds)


def _argv(config: FlagScaleLaunch, serve: FlagScaleServe) -> tuple[str, ...]:
    options: list[str] = []
    if config.model_path is not None:
        options += ["--model-path", config.model_path]
    if config.port is not None:
        options += ["--port", str(config.port)]
    if config.engine_args:
        options += ["--engine-args", json.dumps(config.engine_args)]
    path = str(Path(config.config or "").absolute())
    return (*config.program, "serve", config.name or serve.name, path, *options)


def _variables(config: FlagScaleLaunch) -> dict[str, str]:
    named: dict[str, str] = {}
    if config.flaggems is not None:
        named["USE_FLAGGEMS"] = "1" if config.flaggems else "0"
    if config.vendor is not None:
        named["GEMS_VENDOR"] = config.vendor
    return named
