"""What of FlagOS a side really ran: its switches, inherited ones too, and the operators that its stack wrote down.

FlagGems notes a line for each operator that is called, in a file that FlagScale or the vLLM plugin names. An image of
older make writes names alone:

    [DEBUG] flag_gems.ops.mm.mm: GEMS MM
    mm

A configuration says what was meant; only this list says that it was so. Everybody may write to it: it is text to be
looked at, bounded, and never more.
"""

import asyncio
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.request import urlopen

from evalkit.config import CommandLaunch, EndpointConfig, FlagScaleLaunch
from evalkit.serve.flagscale import SWITCH, is_on
from evalkit.serve.process import output_of

OFF: Final = {"VLLM_PLUGINS": "", SWITCH: "0", "VLLM_FL_PREFER_ENABLED": "false"}
"""Makes a CUDA stack of one that has the plugin: vLLM loads it, and it turns FlagGems on, unless told otherwise."""
_LISTING: Final = ("FLAGOS_BLACKLIST", "FLAGOS_WHITELIST", "OOT_BLACKLIST", "PER_OP")
SWITCHES: Final = (*OFF, *(f"VLLM_FL_{name}" for name in _LISTING))
LISTS: Final = {
    "FLAGGEMS_ENABLE_OPLIST_PATH": "/tmp/flaggems_enable_oplist.txt",  # noqa: S108 - where the plugin writes
    "FLAGGEMS_LOG_PATH": "/tmp/gems_oplist.log.txt",  # noqa: S108 - where FlagScale has vLLM and SGLang write
}
"""Where the list of a started server is: by the variable that moves it, the place that it has without."""

LIST_BYTES: Final = 8 << 20
"""Of a list that has a line for every call: many times what one pass through a large model notes."""
MOST_NAMES: Final = 2_000
SECONDS: Final = 30.0
_LOGGED: Final = re.compile(r"\[\w+\] flag_gems\.(?:\w+\.)*(\w{1,80}): .*GEMS")
_ALONE: Final = re.compile(r"[A-Za-z_]\w{0,79}(?:\.\w{1,40})?")


def variables(config: EndpointConfig) -> dict[str, str]:
    """What an endpoint's files say of its server's variables; those of a FlagScale configuration win."""
    launch = config.launch
    said = dict(launch.env) if launch is not None else {}
    if isinstance(launch, FlagScaleLaunch) and launch.flaggems is not None:
        said.setdefault(SWITCH, str(int(launch.flaggems)))
    return said | (config.flagscale.env if config.flagscale is not None else {})


def says_flagos(said: Mapping[str, str]) -> bool | None:
    """Whether variables turn FlagOS on; None where they leave it open."""
    if SWITCH in said:
        return is_on(said[SWITCH])
    if "VLLM_PLUGINS" in said:
        return "fl" in said["VLLM_PLUGINS"].split(",")
    return is_on(said["VLLM_FL_PREFER_ENABLED"]) if "VLLM_FL_PREFER_ENABLED" in said else None


def settled(config: EndpointConfig, *, reference: bool = False) -> EndpointConfig:
    """The endpoint with the switches in its `launch.env` that its server would inherit, so that they are on record.

    FlagOS is off on the `reference` where its file does not say that it is on.
    """
    launch, said = config.launch, variables(config)
    if not isinstance(launch, CommandLaunch | FlagScaleLaunch):
        return config
    around = {**os.environ, **(OFF if reference and not says_flagos(said) else {})}
    added = {name: around[name] for name in SWITCHES if name in around and name not in said}
    return config.model_copy(update={"launch": launch.model_copy(update={"env": {**added, **launch.env}})})


def switches(config: EndpointConfig) -> dict[str, str]:
    """What a run keeps of the switches: `switches` as they are in force, and `flagos`, "on" or "off" by them."""
    said = variables(config)
    on, shown = says_flagos(said), [f"{name}={said[name]}" for name in SWITCHES if name in said]
    told = {"switches": ", ".join(shown)[:1000]} if shown else {}
    return told if on is None else {**told, "flagos": "on" if on else "off"}


async def proof(config: EndpointConfig, began: float) -> dict[str, str]:
    """What a run keeps of the operators that ran: `operators`, their number and names, or `operators_absent`, why not.

    `began` is when the server was started, in seconds since 1970: an older list is another server's. Two servers that
    run at once on one machine share the usual places, so they are looked at only where FlagOS is meant, or in turns.
    """
    meant = config.operators is not None or says_flagos(variables(config))
    try:
        text = await _list(config, began)
    except LookupError as absent:
        return {"operators_absent": str(absent)} if meant else {}
    names = names_of(text)
    if text.strip() and not names:
        return {"operators_absent": "the list holds no operator's name"}
    return {"operators": f"{len(names)}: {', '.join(names)}" if names else "0"}


def names_of(text: str) -> list[str]:
    """The operators that a list names, each once and in alphabetical order, at most `MOST_NAMES`."""
    lines = (line.strip() for line in text.splitlines())
    matches = (_LOGGED.match(line) or _ALONE.fullmatch(line) for line in lines)
    return sorted({match[match.lastindex or 0] for match in matches if match})[:MOST_NAMES]


async def _list(config: EndpointConfig, began: float) -> str:
    """The beginning of the list; a `LookupError` says why there is none."""
    source, launch = config.operators, config.launch
    started = isinstance(launch, CommandLaunch | FlagScaleLaunch)
    said = {**os.environ, **variables(config)}
    if source is not None:
        places = [source.path] if source.path is not None else []
    elif launch is not None and started and (launch.sequential or says_flagos(said)):
        places = [Path(said.get(name, usual)) for name, usual in LISTS.items()]
    else:
        raise LookupError("nothing says where its list is: give operators:")
    # What is no file, such as a pipe, would be waited for.
    found = [path for path in places if path.is_file() and (not started or path.stat().st_mtime >= began)]
    if places and not found:
        which = "no list that is newer than the server's start" if started else "no list"
        raise LookupError(f"{which} is at {' or '.join(map(str, places))}")
    try:
        if source is not None and not places:
            command = output_of(source.command, LIST_BYTES, SECONDS) if source.command else None
            content = await (command or asyncio.to_thread(_fetched, str(source.url)))
        else:
            with max(found, key=lambda path: path.stat().st_size).open("rb") as file:
                content = file.read(LIST_BYTES)
    except (OSError, TimeoutError) as error:
        raise LookupError(f"its list cannot be read: {str(error) or f'nothing within {SECONDS:g} s'}") from None
    return content.decode(errors="replace")


def _fetched(url: str) -> bytes:
    with urlopen(url, timeout=SECONDS) as answer:  # noqa: S310 - the configuration takes http and https only
        return bytes(answer.read(LIST_BYTES))
