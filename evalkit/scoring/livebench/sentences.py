"""Counting sentences as LiveBench does: nltk's punkt tokenizer with its English model.

The model is data that nltk does not ship. It is looked for where nltk looks, and in the package llama-index-core,
whose wheel carries it; a home-made splitter would count differently and is not the official rule.
"""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from evalkit.errors import DataError
from evalkit.scoring.worker import run_limited

SECONDS: Final = 20.0
"""Processor time for counting the sentences of one reply."""

_MODEL: Final = Path("tokenizers", "punkt_tab", "english")
_MODEL_FILES: Final = ("abbrev_types.txt", "collocations.tab", "ortho_context.tab", "sent_starters.txt")
_CARRIER: Final = ("llama_index", "core/_static/nltk_cache")


def count_sentences(text: str) -> int:
    """The number of sentences that punkt finds.

    Raises:
        DataError: the English model is not on this machine; the sentence says how to get it.
        GradeTimeout: the text takes too long to split.
    """
    root = data_folder()
    if root is None:
        raise DataError(unavailable() or "")
    count: int = run_limited(f"{__name__}:count_in_worker", (text, str(root)), SECONDS)
    return count


def unavailable() -> str | None:
    """None where the English punkt model is on this machine, else one sentence that says how to get it."""
    if data_folder() is not None:
        return None
    return (
        "LiveBench's sentence counts need nltk's English punkt_tab model, which is not on this machine: run "
        "`python -m nltk.downloader punkt_tab`, or `pip install --no-deps llama-index-core` (its wheel carries the "
        f"model, for machines that reach only a package mirror), or set NLTK_DATA to a folder that holds {_MODEL}."
    )


def data_folder() -> Path | None:
    """The first data folder that holds the whole English model, in nltk's order of places; None where none does."""
    complete = (root for root in _roots() if all((root / _MODEL / name).is_file() for name in _MODEL_FILES))
    return next(complete, None)


def _roots() -> list[Path]:
    roots = [Path(entry) for entry in os.environ.get("NLTK_DATA", "").split(os.pathsep) if entry]
    roots += [Path.home() / "nltk_data"]
    roots += [Path(sys.prefix, *place) for place in (("nltk_data",), ("share", "nltk_data"), ("lib", "nltk_data"))]
    roots += [Path(place, "nltk_data") for place in ("/usr/share", "/usr/local/share", "/usr/lib", "/usr/local/lib")]
    package, place = _CARRIER
    spec = find_spec(package)  # finds the folder without running the package
    if spec is not None and spec.submodule_search_locations:
        roots += [Path(location) / place for location in spec.submodule_search_locations]
    return roots


def count_in_worker(text: str, root: str) -> int:
    """The count itself, with the model below the data folder `root`; runs in a grading worker."""
    return sum(1 for _ in _tokenizer(root).span_tokenize(text))


@lru_cache(maxsize=1)
def _tokenizer(root: str) -> Any:
    import nltk.data
    from nltk.tokenize.punkt import PunktTokenizer

    nltk.data.path.insert(0, root)
    return PunktTokenizer("english")
