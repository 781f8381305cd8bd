"""What a configuration says when it may be read by others, and in which keys two configurations differ."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from evalkit.codec import NOT_SET, cut, differing, leaves
from evalkit.config.base import Section
from evalkit.config.redact import redacted
from evalkit.config.schema import EndpointConfig
from evalkit.model import Difference


def public_dump(config: EndpointConfig) -> dict[str, Any]:
    """The whole configuration as JSON-able values without a secret: for the manifest of a run.

    Header values, credentials in addresses, secret environment variables and command line options are replaced by
    "***", and so is every known secret (API keys, header values, variables with secret names) wherever it turns up.
    """
    dump: dict[str, Any] = redacted(_raw(config), config.known_secrets())
    return dump


def differences(reference: EndpointConfig, candidate: EndpointConfig) -> tuple[Difference, ...]:
    """The leaf keys in which two configurations differ, in alphabetical order.

    Suites are matched by name (`suites.mmlu.repeats`). Values that differ only in what is secret are named as
    differing without being shown; long ones are cut to about 120 characters around the first difference.
    """
    left, right = leaves(_raw(reference)), leaves(_raw(candidate))
    shown_left, shown_right = leaves(public_dump(reference)), leaves(public_dump(candidate))
    found = []
    for key in differing(left, right):
        one, other = cut(shown_left.get(key, NOT_SET), shown_right.get(key, NOT_SET))
        found.append(Difference(key, one, other if other != one else f"{other} (another)"))
    return tuple(found)


def _raw(value: Any) -> Any:
    """Models as JSON-able values, secrets and all: must not leave this module."""
    if isinstance(value, Section):
        return {key: _raw(getattr(value, key)) for key in type(value).model_fields}
    if isinstance(value, Mapping):
        return {str(key): _raw(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_raw(item) for item in value]
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return str(value) if isinstance(value, Path) else value
