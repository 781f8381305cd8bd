"""What can go wrong, drawn as a tree; each class knows the exit code that the command line ends with.

    EvalkitError                 70  a defect of evalkit's own, or a case nobody foresaw
    ├── UsageError                2  the user can mend it: the message names file, line, key and fix
    │   ├── ConfigError           2  a YAML file or a --set
    │   ├── SuiteError            2  a suite, task or pack that does not load
    │   ├── DataError             2  a data set that is absent, gated, or not what the suite expects
    │   └── RunError              2  a run folder: locked, unreadable, not a run
    ├── EndpointError             3  an endpoint that does not answer, or answers so that going on is pointless
    │   └── LaunchError           3  an endpoint that evalkit was to start and that did not come up
    └── StorageError              3  a file or folder that cannot be written; what was written before is kept

A failing *request* is not in this tree: it is data (`evalkit.model.Failure`), never an exception and never a score.
Verdicts have exit codes of their own (`evalkit.model.Verdict.exit_code`): 0, 1, 3, 4. Interrupted is 130.
"""

from collections.abc import Iterable
from typing import Self

EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141  # what a shell gives to a program that wrote to a closed pipe


class EvalkitError(Exception):
    """Anything evalkit raises on purpose; `str(error)` is one sentence for a person."""

    exit_code = 70


class UsageError(EvalkitError):
    """The user can mend it."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration file or override is wrong."""


class SuiteError(UsageError):
    """A suite, lm-eval task or pack cannot be loaded."""


class DataError(UsageError):
    """A data set is absent, gated or not what the suite expects."""


class RunError(UsageError):
    """A run folder cannot be used."""


class EndpointError(EvalkitError):
    """An endpoint does not answer, or answers so that going on is pointless.

    `why` is the cause alone, None where only the sentence is known, "" where another side's trouble is the cause;
    `advice` is what to do.
    """

    exit_code = 3

    def __init__(self, sentence: str, *, why: str | None = None, advice: str = "") -> None:
        super().__init__(sentence)
        self.why = why
        self.advice = advice

    @classmethod
    def of(cls, side: str, why: str, advice: str = "") -> Self:
        """The error of a side, by its name."""
        return cls(f"{side}: {why}" + (f"; {advice}" if advice else ""), why=why, advice=advice)


class LaunchError(EndpointError):
    """An endpoint that evalkit was to start did not come up."""


class StorageError(EvalkitError):
    """The disk (full, read-only, another's) refuses what is to be written; everything written before is kept."""

    exit_code = 3


UNREADABLE = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError, OSError, SyntaxError, TypeError, ValueError),
    *(EOFError, RuntimeError),
)
"""What others' libraries raise on bytes or text that they cannot read; which one depends on the byte that is wrong."""

# A word that is not known, and what was probably meant by it

NAMED = 20  # so many known words are told where none is near


def nearest(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The known word that was probably meant; None where none is as alike as `cutoff` (difflib's ratio, 0 to 1)."""
    import difflib

    near = difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return near[0] if near else None


def did_you_mean(word: str, known: Iterable[str], otherwise: str | None = None) -> str:
    """What a sentence about an unknown word ends with: ": did you mean 'x'?", else `otherwise`, else what there is."""
    words = list(dict.fromkeys(known))
    near = nearest(word, words)
    if near is not None:
        return f": did you mean {near!r}?"
    if otherwise is not None:
        return otherwise
    told = ", ".join(words[:NAMED]) or "none"
    return f": there are {told}{' and more' if len(words) > NAMED else ''}"
