"""The kinds of servers that evalkit starts: a user's command, FlagScale, llama.cpp, text recognition."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import evalkit
from evalkit.config import CommandLaunch, FlagScaleLaunch, LlamaCppLaunch, OcrLaunch
from evalkit.config.flagscale import FlagScaleServe, FromCommandLine, read_flagscale
from evalkit.config.launch import PORT_MARK
from evalkit.errors import ConfigError, LaunchError
from evalkit.serve import weights
from evalkit.serve.ocr_engines import check_engine
from evalkit.serve.process import (
    LOCAL,
    Command,
    Server,
    free_port,
    guarded,
    host_and_port,
    refuse_a_taken_port,
)
from evalkit.waits import announce


@asynccontextmanager
async def _command_server(config: CommandLaunch, base_url_hint: str | None, log_file: Path) -> AsyncIterator[Server]:
    """The server of a user's command; {port} is the port of the given address, else a free one."""
    base_url = base_url_hint
    if base_url is None:
        if not config.chooses_port:
            raise LaunchError("launch: a command needs {port} among its arguments, or base_url beside launch")
        base_url = f"http://{LOCAL}:{free_port()}/v1"
    host, port = host_and_port(base_url)
    argv = tuple(argument.replace(PORT_MARK, str(port)) for argument in config.argv)
    command = Command(
        argv=argv,
        log_file=config.log or log_file,
        env=config.env,
        cwd=config.cwd,
        stop_seconds=config.stop_seconds,
    )
    await refuse_a_taken_port(host, port, f"start {command} on another port, and change base_url with it")
    yield Server(command, lambda: base_url, config.health_path, config.ready_seconds)


# ----------------------------------------------------------------
# Starts what a FlagScale serve configuration describes, by `flagscale serve`, on this machine
# FlagScale writes a script, starts it in the background and returns; the engine's output goes to a log below its
# working
# folder. The guard adopts what is left running and ends it by process number. FlagScale's own `stop` is never used: it
# ends every Python process of the machine.


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


# ----------------------------------------------------------------
# The embedded endpoint: llama.cpp's own HTTP server as a child process, with SmolLM2 or a GGUF file of the
# user's


KNOWN_MODEL: Final = "smollm2"
CHILD: Final = Path(__file__).with_name("llama_child.py")
PACKAGE_HOME: Final = Path(evalkit.__file__).resolve().parent.parent
STOP_SECONDS: Final = 5.0
TEMPLATE_BYTES: Final = 100_000  # an argument of a process has room for 128 KiB


@dataclass(frozen=True, slots=True)
class Settings:
    """What the child process is told, as JSON; `context` is per slot, in tokens."""

    model: str
    alias: str
    report: str
    port: int
    slots: int
    context: int
    threads: int
    cache_type_k: str
    cache_type_v: str
    flash_attention: str
    rope_freq_base: float | None
    chat_template: str | None
    host: str = LOCAL


@asynccontextmanager
async def llama_server(config: LlamaCppLaunch, log_file: Path) -> AsyncIterator[Server]:
    """The command that serves `config`; the weights are there when this gives it.

    Raises:
        ConfigError: the model or template file cannot be read.
        LaunchError: a package is missing, the weights cannot be had, or the port is taken.
    """
    if importlib.util.find_spec("xllamacpp") is None:
        raise LaunchError(f"launch kind llama_cpp needs the package xllamacpp: {weights.EXTRA}")
    with tempfile.TemporaryDirectory(prefix="evalkit-") as scratch:
        model = await _model(config, log_file, Path(scratch) / "weights.json")
        if config.port:
            await refuse_a_taken_port(LOCAL, config.port, "set launch.port to 0 for a free one")
        report = Path(scratch) / "server.json"
        settings = _settings(config, model, report)
        command = Command(
            argv=(sys.executable, "-P", str(CHILD), json.dumps(asdict(settings))),
            log_file=log_file,
            env=_environment(config),
            stop_seconds=STOP_SECONDS,
            title=f"llama.cpp's server for {model.name}",
        )
        yield Server(command, lambda: _address(report), "/health", config.ready_seconds)


async def _model(config: LlamaCppLaunch, log_file: Path, report: Path) -> Path:
    """The GGUF file to serve; SmolLM2's is fetched in a child process, which can be interrupted at any time."""
    if config.model != KNOWN_MODEL:
        return _own_file(config.model)
    if (there := await asyncio.to_thread(weights.stored, config.weights_type)) is not None:
        return there
    announce(weights.what_is_to_be_done(config.weights_type))
    command = Command(
        argv=(sys.executable, "-P", "-m", weights.__name__, config.weights_type, str(report)),
        log_file=log_file,
        env={"PYTHONPATH": os.pathsep.join((str(PACKAGE_HOME), os.environ.get("PYTHONPATH", ""))).rstrip(os.pathsep)},
        stop_seconds=STOP_SECONDS,
        title="fetching the weights",
    )
    async with guarded(command) as fetching:
        await fetching.ended
        outcome = _reported(report)
        if "path" not in outcome:
            raise LaunchError(outcome.get("error") or fetching.end_sentence())
    return Path(outcome["path"])


def _own_file(model: str) -> Path:
    path = Path(model).expanduser()
    if not path.is_file():
        raise ConfigError(f"launch.model: {path} is no file: give the path of a GGUF file, or {KNOWN_MODEL}")
    return path.resolve()


def _settings(config: LlamaCppLaunch, model: Path, report: Path) -> Settings:
    return Settings(
        model=str(model),
        alias=KNOWN_MODEL if config.model == KNOWN_MODEL else model.stem,
        report=str(report),
        port=config.port,
        slots=config.slots,
        context=config.context,
        threads=config.threads,
        cache_type_k=config.cache_type_k,
        cache_type_v=config.cache_type_v,
        flash_attention=config.flash_attention,
        rope_freq_base=config.rope_freq_base,
        chat_template=_template(config),
    )


def _template(config: LlamaCppLaunch) -> str | None:
    path = config.chat_template_file
    if path is None:
        return config.chat_template
    try:
        text = path.expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise ConfigError(f"launch.chat_template_file: {path} cannot be read: {why}") from error
    if not 0 < len(text.encode()) <= TEMPLATE_BYTES:
        raise ConfigError(f"launch.chat_template_file: {path} must hold a template of at most {TEMPLATE_BYTES} bytes")
    return text


def _environment(config: LlamaCppLaunch) -> dict[str, str]:
    """The child's environment: the configuration alone decides what changes the numbers."""
    return {
        # Threads that wait by spinning take each other's cores on a busy machine: 1.9 tokens a second instead of 111.
        "GOMP_SPINCOUNT": "0",
        **config.env,
        "LLAMA_ATTN_ROT_DISABLE": "0" if config.attention_rotation else "1",
    }


def _address(report: Path) -> str | None:
    outcome = _reported(report)
    return f"http://{LOCAL}:{outcome['port']}/v1" if outcome else None


def _reported(path: Path) -> dict[str, Any]:
    """What a child process wrote for us; nothing as long as it has not."""
    try:
        outcome = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return outcome if isinstance(outcome, dict) else {}


# ----------------------------------------------------------------
# Starts the text recogniser of `launch: {kind: ocr}` as a child process; what is not installed is said at once


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
        argv=(sys.executable, "-P", "-m", "evalkit.serve.ocr", *_arguments(config, port)),
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
