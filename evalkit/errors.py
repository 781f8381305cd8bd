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

from __future__ import annotations

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
    """An endpoint does not answer, or answers so that going on is pointless."""

    exit_code = 3


class LaunchError(EndpointError):
    """An endpoint that evalkit was to start did not come up."""


class StorageError(EvalkitError):
    """The disk (full, read-only, another's) refuses what is to be written; everything written before is kept."""

    exit_code = 3
