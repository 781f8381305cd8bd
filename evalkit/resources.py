"""Finds the data that ships with evalkit: suites, packs and report templates, in a wheel and in a checkout."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def data_folder(name: str) -> Path:
    """The shipped folder `name` ("suites" or "reports"): packed beside this package, else the checkout's own.

    Raises:
        FileNotFoundError: where the installation is broken and neither exists.
    """
    packed = _PACKAGE / "_data" / name
    if packed.is_dir():
        return packed
    checkout = _PACKAGE.parent / name
    if checkout.is_dir():
        return checkout
    raise FileNotFoundError(f"evalkit's own folder {name!r} is missing: reinstall flagos-evalkit")


def cache_folder() -> Path:
    """Where evalkit keeps what it can make again: `EVALKIT_CACHE`, else the user's cache folder for evalkit."""
    chosen = os.environ.get("EVALKIT_CACHE", "").strip()
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("evalkit"))


def suite_folders() -> Iterator[tuple[str, Path]]:
    """Where suites are looked for by name, first match wins: (where it came from, folder).

    The order is `EVALKIT_SUITES` (folders, separated as in PATH), then evalkit's own.
    """
    for entry in os.environ.get("EVALKIT_SUITES", "").split(os.pathsep):
        if entry:
            yield "EVALKIT_SUITES", Path(entry).expanduser()
    yield "evalkit", data_folder("suites")
