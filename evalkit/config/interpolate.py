"""`${VAR}` and `${VAR:-default}` in the values of a configuration file."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from evalkit.config.base import ENVIRONMENT_NAME
from evalkit.config.origin import Origin
from evalkit.config.redact import is_secret_name
from evalkit.errors import ConfigError

_MARK: Final = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")


@dataclass(slots=True)
class Interpolator:
    """Fills environment variables in; `secrets` gathers the values of variables whose names say that they are secret.

    As in a shell, the default stands in for a variable that is unset or empty; `$${` is a literal `${`.
    """

    environment: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    secrets: set[str] = field(default_factory=set, repr=False)

    def __call__(self, text: str, origin: Origin, key: str) -> str:
        """`text` with its variables filled in.

        Raises:
            ConfigError: a variable is unset and has no default, or a `${` is not closed.
        """

        def value(match: re.Match[str]) -> str:
            if match[0] == "$${":
                return "${"
            name, has_default, default = (match[1] or "").partition(":-")
            if not ENVIRONMENT_NAME.fullmatch(name):
                raise ConfigError(
                    f"{origin}: {key}: '{match[0]}' is not a variable: write ${{NAME}} or ${{NAME:-default}}, "
                    "and $${ for a literal ${"
                )
            if name not in self.environment and not has_default:
                raise ConfigError(
                    f"{origin}: {key}: the environment variable {name} is not set: "
                    f"export it, or give a default with ${{{name}:-...}}"
                )
            filled = self.environment.get(name, "")
            if filled and is_secret_name(name):
                self.secrets.add(filled)
            return filled or default

        return _MARK.sub(value, text)
