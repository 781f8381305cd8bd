"""The kinds of servers that evalkit starts: a user's command, FlagScale, llama.cpp, text recognition."""

import asyncio
import importlib.util
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from evalkit.config import CommandLaunch, FlagScaleLaunch, Launch, LlamaCppLaunch, OcrLaunch
from evalkit.config.launch import KNOWN_MODEL, PORT_MARK
from evalkit.config.yaml import read_text
from evalkit.errors import ConfigError, LaunchError
from evalkit.resources import data_folder
from evalkit.serve import process
from evalkit.serve.flagscale import FlagScaleServe, FromCommandLine, read_flagscale
from evalkit.waits import announce

STANDIN_STOP_SECONDS: Final = 5.0
TEMPLATE_BYTES: Final = 100_000  # an argument of a process has room for 128 KiB
HELP_BYTES: Final = 65_536
HELP_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.2
_ANY_PORT: Final = "set launch.port to 0 for a free one"


async def server_of(config: Launch, base_url_hint: str | None, log_file: Path, scratch: Path) -> process.Server:
    """The command that serves `config`, not started; `scratch` is an empty folder that outlives it.

    Raises `ConfigError`: a file that `config` names cannot be used; `LaunchError`: something that it needs is missing,
    or its port is taken.
    """
    match config:
        case LlamaCppLaunch():
            return await _llama(config, log_file, scratch)
        case OcrLaunch():
            return await _ocr(config, log_file, scratch)
        case FlagScaleLaunch():
            return await _flagscale(config, base_url_hint, log_file)
        case _:
            return await _command(config, base_url_hint, log_file)


async def _command(config: CommandLaunch, base_url_hint: str | None, log_file: Path) -> process.Server:
    """A user's command; {port} is the port of the given address, else a free one."""
    base_url = base_url_hint
    if base_url is None:
        if not config.chooses_port:
            raise LaunchError("launch: a command needs {port} among its arguments, or base_url beside launch")
        base_url = f"http://{process.LOCAL}:{process.free_port()}/v1"
    host, port = process.host_and_port(base_url)
    argv = tuple(argument.replace(PORT_MARK, str(port)) for argument in config.argv)
    command = process.Command(argv, config.log or log_file, config.env, config.cwd, config.stop_seconds)
    await process.refuse_a_taken_port(host, port, f"start {command} on another port, and change base_url with it")
    return process.Server(command, lambda: base_url, config.health_path, config.ready_seconds)


async def _flagscale(config: FlagScaleLaunch, base_url_hint: str | None, log_file: Path) -> process.Server:
    """`flagscale serve`; it answers at the hint, else where the serve configuration says.

    FlagScale writes a script, starts it in the background and returns; the engine's output goes to a log below its
    working folder. The guard adopts what is left running and ends it by process number. FlagScale's own `stop` is never
    used: it ends every Python process of the machine.
    """
    if config.config is None:
        raise LaunchError("launch: kind flagscale needs `flagscale:`, the path of a serve configuration")
    told = FromCommandLine(config.port, config.model_path, config.engine_args, config.env)
    serve = read_flagscale(config.config, told=told)
    base_url = base_url_hint or serve.base_url
    flaggems = None if config.flaggems is None else str(int(config.flaggems))
    named = {"USE_FLAGGEMS": flaggems, "GEMS_VENDOR": config.vendor}
    command = process.Command(
        argv=_flagscale_argv(config, serve, await _flagscale_help(config.program)),
        log_file=config.log or log_file,
        env={**{name: value for name, value in named.items() if value is not None}, **config.env},
        cwd=config.cwd,
        stop_seconds=config.stop_seconds,
        other_logs=((config.cwd or Path()) / serve.log,),
    )
    host, port = process.host_and_port(base_url)
    await process.refuse_a_taken_port(
        host, port, "set launch.port, or the port of the serve configuration, to another one"
    )
    return process.Server(command, lambda: base_url, "/v1/models", config.ready_seconds)


async def _flagscale_help(program: tuple[str, ...]) -> str:
    """What `serve --help` says; a program that cannot be asked takes what versions 0.9 do, and its start says why."""
    try:
        return str(await process.output_of((*program, "serve", "--help"), HELP_BYTES, HELP_SECONDS))
    except (OSError, TimeoutError):
        return "--model-path --port --engine-args"


def _flagscale_argv(config: FlagScaleLaunch, serve: FlagScaleServe, told: str) -> tuple[str, ...]:
    """The command line by what its help has `told`: `serve NAME FILE`, or newer `serve NAME --config FILE`.

    Raises `LaunchError`: an option is wanted that this version lacks.
    """
    model_path, engine_args = config.model_path, config.engine_args
    if model_path is not None and "=" in model_path:  # Hydra would split it; what is in JSON is quoted
        model_path, engine_args = None, {"model": model_path, **engine_args}
    engine = json.dumps(engine_args) if engine_args else None
    named = {"--model-path": model_path, "--port": config.port, "--engine-args": engine}
    options = [part for option, value in named.items() if value is not None for part in (option, str(value))]
    if lacking := [option for option in options[::2] if option not in told]:
        raise LaunchError(f"launch: `serve` of this FlagScale has no {lacking[0]}: change the serve configuration")
    file = str(Path(config.config or "").absolute())
    place = ("--config", file) if "--config" in told else (file,)
    return (*config.program, "serve", config.name or serve.name, *place, *options)


async def _llama(config: LlamaCppLaunch, log_file: Path, scratch: Path) -> process.Server:
    """llama.cpp's own HTTP server with SmolLM2 or a GGUF file of the user's; the weights are there before it starts."""
    if importlib.util.find_spec("xllamacpp") is None:
        raise LaunchError("launch kind llama_cpp needs the package xllamacpp: pip install 'flagos-evalkit[demo]'")
    own = config.model != KNOWN_MODEL
    model = _own_file(config.model) if own else await _smollm2(config.weights_type, log_file, scratch / "weights.json")
    command = process.Command((), log_file, llama_environment(config), title=f"llama.cpp's server for {model.name}")
    return await _standin("llama", llama_settings(config, model), command, config.ready_seconds, scratch)


async def _ocr(config: OcrLaunch, log_file: Path, scratch: Path) -> process.Server:
    """A server around a text recogniser, under the engine's name; it says itself what is not installed."""
    settings = config.model_dump(include={"engine", "languages", "degrade", "max_images", "port"})
    command = process.Command((), log_file, config.env, title=f"evalkit's server around {config.engine}")
    return await _standin("ocr", {**settings, "model": config.engine}, command, config.ready_seconds, scratch)


async def _standin(
    name: str, settings: Mapping[str, Any], command: process.Command, ready_seconds: float, scratch: Path
) -> process.Server:
    """The program `name` as a server that tells its port, or in a sentence what it lacks."""
    if settings["port"]:
        await process.refuse_a_taken_port(process.LOCAL, settings["port"], _ANY_PORT)
    report = scratch / "server.json"

    def address() -> str | None:
        port = _told(report).get("port")
        return f"http://{process.LOCAL}:{port}/v1" if port else None

    command = _program(name, settings, report, command)
    return process.Server(command, address, "/health", ready_seconds, lambda: _told(report).get("error"))


def _program(name: str, settings: Mapping[str, Any], report: Path, command: process.Command) -> process.Command:
    file = data_folder("standins") / f"{name}.py"
    argument = json.dumps({**settings, "report": str(report)})
    # The programs import their neighbours, whatever the user has Python do with folders of scripts.
    env = {**command.env, "PYTHONSAFEPATH": ""}
    return replace(command, argv=(sys.executable, str(file), argument), env=env, stop_seconds=STANDIN_STOP_SECONDS)


def _told(report: Path) -> dict[str, Any]:
    """What a stand-in told of itself; nothing as long as it has not."""
    try:
        told = json.loads(report.read_bytes())
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


async def _smollm2(weights_type: str, log_file: Path, report: Path) -> Path:
    """SmolLM2's GGUF file, fetched where it is not there by a program that can be interrupted at any time."""
    command = process.Command((), log_file, title="fetching the weights")
    async with process.guarded(_program("weights", {"weights_type": weights_type}, report, command)) as fetching:
        announced = False
        while not fetching.ended.done():
            await asyncio.wait((fetching.ended,), timeout=_LOOK_SECONDS)
            doing = _told(report).get("doing")
            if doing and not announced:
                announce(doing)
                announced = True
        told = _told(report)
        if "path" not in told:
            raise LaunchError(told.get("error") or fetching.end_sentence())
    return Path(told["path"])


def _own_file(model: str) -> Path:
    path = Path(model).expanduser()
    if not path.is_file():
        raise ConfigError(f"launch.model: {path} is no file: give the path of a GGUF file, or {KNOWN_MODEL}")
    return path.resolve()


def llama_settings(config: LlamaCppLaunch, model: Path) -> dict[str, Any]:
    """What llama.cpp's server is told; `context` is per slot, in tokens.

    Raises `ConfigError`: the template file cannot be used.
    """
    alike = {"port", "slots", "context", "threads", "cache_type_k", "cache_type_v", "flash_attention", "rope_freq_base"}
    alias = KNOWN_MODEL if config.model == KNOWN_MODEL else model.stem
    own = {"model": str(model), "alias": alias, "chat_template": _template(config)}
    return {**config.model_dump(include=alike), **own}


def _template(config: LlamaCppLaunch) -> str | None:
    path = config.chat_template_file
    if path is None:
        return config.chat_template
    text = read_text(path.expanduser(), "launch.chat_template_file: ")
    if not 0 < len(text.encode()) <= TEMPLATE_BYTES:
        raise ConfigError(f"launch.chat_template_file: {path} must hold a template of at most {TEMPLATE_BYTES} bytes")
    return text


def llama_environment(config: LlamaCppLaunch) -> dict[str, str]:
    """The server's environment: the configuration alone decides what changes the numbers."""
    return {
        # Threads that wait by spinning take each other's cores on a busy machine: 1.9 tokens a second instead of 111.
        "GOMP_SPINCOUNT": "0",
        **config.env,
        "LLAMA_ATTN_ROT_DISABLE": "0" if config.attention_rotation else "1",
    }
