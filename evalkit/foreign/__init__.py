"""Other people's files as sides of a comparison: lm-eval's output folders and plain score tables.

This module has what a person says about such files: which filter, which metric, which headline.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, Self, TypeAlias

from evalkit.errors import UsageError

Dates: TypeAlias = Literal["latest", "repeats"]
HEADLINES: Final = ("micro", "macro")


@dataclass(frozen=True, slots=True)
class Named:
    """A choice for all suites and choices for single ones: NAME and SUITE=NAME on the command line."""

    everywhere: str | None = None
    by_suite: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, option: str, given: tuple[str, ...], allowed: tuple[str, ...] = ()) -> Self:
        """The choice that an option's values say.

        Raises `UsageError`: for a value that is not allowed, or two that contradict each other.
        """
        said: dict[str, str] = {}  # by suite, "" for all
        for text in given:
            suite, _, name = text.rpartition("=")
            if not name or (allowed and name not in allowed):
                expected = " or ".join(allowed) or "NAME or SUITE=NAME"
                raise UsageError(f"{option} {text}: say {expected}")
            known = said.setdefault(suite, name)
            if known != name:
                raise UsageError(f"{option}: says both {known!r} and {name!r}{f' for {suite}' if suite else ''}")
        return cls(said.pop("", None), said)

    def of(self, suite: str) -> str | None:
        """The choice for a suite, None where nothing is said."""
        return self.by_suite.get(suite, self.everywhere)


@dataclass(frozen=True, slots=True)
class Choices:
    """Everything that may be said about foreign files."""

    filters: Named = field(default_factory=Named)
    metrics: Named = field(default_factory=Named)
    headlines: Named = field(default_factory=Named)
    dates: Dates | None = None
