"""What a server runs on: the packages of its Python, and the chips by their vendors' own tools (`reports/facts.toml`).

It is asked on this machine, where the server runs. What tools print is text of others, and bounded.
"""

import asyncio
import re
import shutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

import orjson

from evalkit.config import CommandLaunch, EndpointConfig, FlagScaleLaunch
from evalkit.resources import toml_file
from evalkit.serve.process import output_of
from evalkit.waits import finished

SECONDS: Final = 60.0
_KNOWN: Final = "reports/facts.toml"
WORDS_BYTES: Final = 4_000
_VERSIONS: Final = """
import json, sys, importlib.metadata as installed
found = {}
for name in sys.argv[1:]:
    try: found[name] = installed.version(name)
    except installed.PackageNotFoundError: pass
print(json.dumps(found))
"""


async def facts(program: str) -> dict[str, str]:
    """`versions` of a program, and the machine's `chip`, `chips` (their number), `driver` and `firmware`.

    Of a tool whose output is not known: `vendor` and its `words`.
    """
    told = dict(await asyncio.to_thread(versions, program))
    for vendor, tool in toml_file(_KNOWN)["tools"].items():
        if shutil.which(tool["argv"][0]) is None:
            continue
        text = (await _said(*tool["argv"])).decode(errors="replace")
        lines = [re.fullmatch(tool.get("pattern", "(?!)"), line.strip()) for line in text.splitlines()]
        if found := [line.groupdict() for line in lines if line]:
            return {**told, **found[0], "chips": str(len(found))}
        if text:
            return {**told, "vendor": vendor, "words": text}
    return told


async def _said(*argv: str) -> bytes:
    try:
        return await output_of(argv, WORDS_BYTES, SECONDS)
    except (OSError, TimeoutError):
        return b""


@cache
def versions(program: str) -> Mapping[str, str]:
    """Versions by package of the Python that a program is or is run by; none of one that has no engine."""
    python = _python(shutil.which(program) or program)
    said = finished(_said(python, "-c", _VERSIONS, *toml_file(_KNOWN)["packages"])) if python else b""
    found: dict[str, str] = orjson.loads(said) if said.startswith(b"{") else {}
    return found if found.keys() & set(toml_file(_KNOWN)["engines"]) else {}


def _python(program: str) -> str | None:
    if Path(program).name.startswith("python"):
        return program
    try:
        with Path(program).open("rb") as file:
            first = file.readline(500).decode(errors="replace").split()
    except OSError:
        return None
    return first[0].removeprefix("#!") if first and first[0].startswith("#!") and "python" in first[0] else None


def program_of(config: EndpointConfig) -> str:
    """The program of a server that evalkit starts; "" where it starts none, or another program stands before it."""
    match config.launch:
        case CommandLaunch(argv=(program, *_)) | FlagScaleLaunch(program=(program,)):
            return program
        case _:
            return ""


def with_build(config: EndpointConfig) -> EndpointConfig:
    """The endpoint with a `build:` of its server's packages, where it says none: another vLLM is another run."""
    build = "" if config.build else build_of(versions(program_of(config)))
    return config.model_copy(update={"build": build}) if build else config


def build_of(found: Mapping[str, str]) -> str:
    """A `build:` of facts: NAME=VALUE each, as the history takes them apart; without a tool's words, which change."""
    told = {name: re.sub(r"[\s,;=]+", "_", value) for name, value in found.items() if name != "words"}
    return " ".join(f"{name}={value}" for name, value in told.items())
