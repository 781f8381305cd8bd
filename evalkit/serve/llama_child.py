"""A llama.cpp server in a process of its own: `python -m evalkit.serve.llama_child JSON`; needs only xllamacpp.

The argument is one JSON object with the fields of `llama.Settings`. Once the server answers, `{"port": n}` stands in
the file `report`; where it cannot start, the process ends with exit code 1 and llama.cpp has said why on stderr. It
serves until it is killed; `launch.py` sees to that.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

VERBOSITY: Final = 2  # errors and warnings; the next level writes six lines for every request
_FLASH: Final = {"auto": "AUTO", "on": "ENABLED", "off": "DISABLED"}


def parameters(xllamacpp: Any, settings: Mapping[str, Any]) -> Any:
    """The parameters of xllamacpp for `settings`."""
    wanted = xllamacpp.CommonParams()
    wanted.model.path = settings["model"]
    wanted.model_alias = {settings["alias"]}
    wanted.hostnames = [settings["host"]]
    wanted.port = settings["port"]
    wanted.n_parallel = settings["slots"]
    wanted.n_ctx = settings["context"] * settings["slots"]
    wanted.cpuparams.n_threads = settings["threads"]
    wanted.cpuparams_batch.n_threads = settings["threads"]
    wanted.cache_type_k = _number_format(xllamacpp, settings["cache_type_k"])
    wanted.cache_type_v = _number_format(xllamacpp, settings["cache_type_v"])
    flash = f"LLAMA_FLASH_ATTN_TYPE_{_FLASH[settings['flash_attention']]}"
    wanted.flash_attn_type = getattr(xllamacpp.llama_flash_attn_type, flash)
    if settings["rope_freq_base"] is not None:
        wanted.rope_freq_base = settings["rope_freq_base"]
    if settings["chat_template"] is not None:
        wanted.chat_template = settings["chat_template"]
    # What llama.cpp would decide by the memory of the machine: the same everywhere instead.
    wanted.fit_params = False
    wanted.cache_ram_mib = 0
    wanted.cache_idle_slots = False
    wanted.ui = False
    wanted.verbosity = VERBOSITY
    return wanted


def _number_format(xllamacpp: Any, name: str) -> Any:
    return getattr(xllamacpp.ggml_type, f"GGML_TYPE_{name.upper()}")


def main(argument: str) -> int:
    """Starts the server and serves until the process is killed."""
    settings = json.loads(argument)
    import xllamacpp

    try:
        server = xllamacpp.Server(parameters(xllamacpp, settings))
    except RuntimeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    place = Path(settings["report"])
    part = place.with_suffix(".part")
    part.write_text(json.dumps({"port": int(server.listening_address.rpartition(":")[2])}), encoding="utf-8")
    part.replace(place)  # a reader sees all of it or nothing
    while server:
        signal.pause()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
