"""A llama.cpp server in a process of its own, for `launch: {kind: llama_cpp}`; needs only xllamacpp.

    python examples/standins/llama.py JSON

The settings are those that `parameters` reads: `model` is a GGUF file, `context` the length of one slot in tokens, port
0 any free one. Once the server answers, its port is told; where it cannot start, the process ends with exit code 1 and
llama.cpp has said why on stderr. It serves until it is killed.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from standin import run

VERBOSITY: Final = 2  # errors and warnings; the next level writes six lines for every request
_FLASH: Final = {"auto": "AUTO", "on": "ENABLED", "off": "DISABLED"}


def parameters(xllamacpp: Any, settings: Mapping[str, Any]) -> Any:
    """The parameters of xllamacpp for `settings`."""
    wanted = xllamacpp.CommonParams()
    wanted.model.path = settings["model"]
    wanted.model_alias = {settings["alias"]}
    wanted.hostnames = ["127.0.0.1"]
    wanted.port = settings["port"]
    wanted.n_parallel = settings["slots"]
    wanted.n_ctx = settings["context"] * settings["slots"]
    wanted.cpuparams.n_threads = settings["threads"]
    wanted.cpuparams_batch.n_threads = settings["threads"]
    for key in ("cache_type_k", "cache_type_v"):
        setattr(wanted, key, getattr(xllamacpp.ggml_type, f"GGML_TYPE_{settings[key].upper()}"))
    flash = f"LLAMA_FLASH_ATTN_TYPE_{_FLASH[settings['flash_attention']]}"
    wanted.flash_attn_type = getattr(xllamacpp.llama_flash_attn_type, flash)
    for key in ("rope_freq_base", "chat_template"):
        if settings[key] is not None:
            setattr(wanted, key, settings[key])
    # What llama.cpp would decide by the memory of the machine: the same everywhere instead.
    wanted.fit_params = False
    wanted.cache_ram_mib = 0
    wanted.cache_idle_slots = False
    wanted.ui = False
    wanted.verbosity = VERBOSITY
    return wanted


def serve(settings: Mapping[str, Any], tell: Callable[..., None]) -> None:
    """Starts the server and serves until the process is killed."""
    import xllamacpp

    try:
        server = xllamacpp.Server(parameters(xllamacpp, settings))
    except RuntimeError as error:
        sys.exit(f"{error}")
    tell(port=int(server.listening_address.rpartition(":")[2]))
    while server:
        signal.pause()


if __name__ == "__main__":
    sys.exit(run(serve))
