"""What ships with evalkit (suites, templates, programs), found in a wheel and in a checkout; and its version."""

import os
import re
import time
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

__version__ = "0.1.0"  # packaging reads it here
_PACKAGE = Path(__file__).resolve().parent
_IN_THE_CHECKOUT = {"start": "examples/start", "standins": "examples/standins", "bench": "benchmarks/bench"}


def data_folder(name: str) -> Path:
    """The shipped folder `name` (suites, reports, start ...): beside this package, else the checkout's own.

    Raises `FileNotFoundError`: where the installation is broken and neither exists.
    """
    packed = _PACKAGE / "_data" / name
    if packed.is_dir():
        return packed
    checkout = _PACKAGE.parent / _IN_THE_CHECKOUT.get(name, name)
    if checkout.is_dir():
        return checkout
    raise FileNotFoundError(f"evalkit's own folder {name!r} is missing: reinstall flagos-evalkit")


@cache
def toml_file(place: str) -> dict[str, Any]:
    """All of a TOML file beside a module ("compare/scripts.toml") or in a shipped folder ("reports/words.toml")."""
    folder, _slash, name = place.rpartition("/")
    path = _PACKAGE / place
    return tomllib.loads((path if path.is_file() else data_folder(folder) / name).read_text(encoding="utf-8"))


@cache
def _blocks(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").split("\n[")[1:]


@cache
def toml_table(path: Path, name: str) -> dict[str, Any]:
    """A top-level table of a shipped TOML file (all of a catalogue takes 20 ms). Raises `KeyError`: there is none."""
    heads = (f'"{name}"]', f"{name}]", f"{name}.")
    found: dict[str, Any] = tomllib.loads("\n".join(f"[{one}" for one in _blocks(path) if one.startswith(heads)))[name]
    return found


class Patterns:
    """The regular expressions of one table of patterns.toml as attributes, each compiled when it is first used.

    Raises `AttributeError`: the table has no such entry.
    """

    def __init__(self, table: str) -> None:
        self._table = table

    def __getattr__(self, name: str) -> re.Pattern[str]:
        """The pattern `name`, compiled when first asked for."""
        if name not in self._entries:
            raise AttributeError(f"patterns.toml has no {name!r} in [{self._table}]")
        compiled = re.compile(self._text(name))
        setattr(self, name, compiled)
        return compiled

    def _text(self, name: str) -> str:
        return re.sub("<<([a-z_]+)>>", lambda found: self._text(found[1]), "".join(self._entries[name]))

    @property
    def _entries(self) -> dict[str, Any]:
        return toml_table(Path(__file__).with_name("patterns.toml"), self._table)


def cache_folder() -> Path:
    """Where evalkit keeps what it can make again: `EVALKIT_CACHE`, else the user's cache folder for evalkit."""
    chosen = os.environ.get("EVALKIT_CACHE", "").strip()
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("evalkit"))


def tidy(folder: Path, pattern: str, keep: Path, *, seconds: float, most_bytes: int) -> None:
    """Removes the files of a cache that were not used for so long, and the longest unused above a size in all.

    Raises `OSError`: where the folder cannot be read.
    """
    entries = sorted(((entry.stat(), entry) for entry in folder.glob(pattern)), key=lambda e: -e[0].st_mtime)
    held = 0
    for about, entry in entries:
        held += about.st_size
        if entry != keep and (held > most_bytes or about.st_mtime < time.time() - seconds):
            with suppress(OSError):
                entry.unlink()


def suite_folders() -> Iterator[tuple[str, Path]]:
    """Where suites are looked for by name, first match wins: (where it came from, folder).

    The order is `EVALKIT_SUITES` (folders, separated as in PATH), then evalkit's own.
    """
    for entry in os.environ.get("EVALKIT_SUITES", "").split(os.pathsep):
        if entry:
            yield "EVALKIT_SUITES", Path(entry).expanduser()
    yield "evalkit", data_folder("suites")
