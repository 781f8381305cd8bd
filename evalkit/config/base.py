"""What all configuration models share: frozen, unknown keys refused, numbers that are numbers, text that is text."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError

from evalkit.config.redact import redact_url, redacted

ENVIRONMENT_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Section(BaseModel):
    """One mapping of a configuration file."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        hide_input_in_errors=True,
        validate_default=True,
        protected_namespaces=(),
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_is_default(cls, data: Any) -> Any:
        """A key with nothing under it, all its lines commented out, means a section, list or mapping left as it is."""
        if not isinstance(data, Mapping):
            return data
        return {key: value for key, value in data.items() if value is not None or not cls._is_collection(key)}

    @classmethod
    def _is_collection(cls, key: str) -> bool:
        field = cls.model_fields.get(key)
        return field is not None and (field.default_factory is dict or isinstance(field.default, Section | tuple))

    @classmethod
    def purpose_of(cls, key: str) -> str:
        """What a key is for, as `keys.yaml` says under the name of this section or of one that it builds on; or ""."""
        said = (_purposes().get(section.__name__, {}) for section in cls.__mro__)
        return next((keys[key] for keys in said if key in keys), "")

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The JSON Schema of the section, with what every key is for."""
        found = handler(schema)
        for key, value in handler.resolve_ref_schema(found).get("properties", {}).items():
            value["description"] = cls.purpose_of(key)
        return found

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """What `repr` shows: a traceback or a log line must not hold a secret."""
        for name, value in super().__repr_args__():
            yield name, redacted(value, name=name or "")


@cache
def _purposes() -> dict[str, dict[str, str]]:
    import yaml

    found: dict[str, dict[str, str]] = yaml.safe_load(Path(__file__).with_name("keys.yaml").read_text(encoding="utf-8"))
    return found


def conflict(message: str, *keys: str) -> PydanticCustomError:
    """An error about several keys of one section; the loader puts their file and line before the message."""
    return PydanticCustomError("conflict", "{message}", {"message": message, "keys": list(keys)})


def refuse(wrong: object, message: str, *keys: str) -> None:
    """Raises a `conflict` where there is one."""
    if wrong:
        raise conflict(message, *keys)


def matching(pattern: str, kind: str, sentence: str) -> AfterValidator:
    """Takes a text that is all `pattern`; `sentence` says what it must be."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise PydanticCustomError(kind, sentence)
        return value

    return AfterValidator(check)


def _not_a_switch(value: Any) -> Any:
    """Python counts True as 1; a `yes` where a number belongs is a mistake."""
    if isinstance(value, bool):
        raise PydanticCustomError("not_a_number", "must be a number")
    return value


def as_text(value: Any) -> Any:
    """A whole number where text belongs is taken as it was written (a port in an argument list, a name `2024`)."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or re.search(r"\s", value):
        raise PydanticCustomError("url", "must be an address such as http://127.0.0.1:8000/v1")
    if parts.fragment:
        raise PydanticCustomError("url", "must not have a '#...' part")
    if parts.path.rstrip("/").endswith(("/chat/completions", "/completions", "/models")):
        raise PydanticCustomError("url", "must end before /chat/completions: evalkit adds that itself")
    return value.rstrip("/")


def short(key: str, shown: Any) -> BeforeValidator:
    """Lets plain text stand for a section of which it is one key; `shown` is what the JSON Schema says."""
    return BeforeValidator(
        lambda given: {key: given} if isinstance(given, str) else given, json_schema_input_type=shown
    )


def environment(value: Mapping[str, str]) -> Mapping[str, str]:
    """Check the names of a mapping of environment variables."""
    for name in value:
        if not ENVIRONMENT_NAME.fullmatch(name):
            raise PydanticCustomError(
                "environment", "has a key that is no environment variable name: {name}", {"name": name}
            )
    return value


# Bounds stand before these validators, directly at the type: only so do they reach the JSON Schema.
NUMBER: Final = BeforeValidator(_not_a_switch)
NonEmpty = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1), NUMBER]
Seconds = Annotated[float, Field(gt=0), NUMBER]
Text = Annotated[str, BeforeValidator(as_text, json_schema_input_type=str | int)]
Word = Annotated[NonEmpty, BeforeValidator(as_text, json_schema_input_type=NonEmpty | int)]
Url = Annotated[str, AfterValidator(_url), PlainSerializer(redact_url, return_type=str)]
EnvironmentName = Annotated[
    str,
    matching(
        ENVIRONMENT_NAME.pattern,
        "environment_name",
        "must be the name of an environment variable; the key itself never goes into the file",
    ),
]
Environment = Annotated[dict[str, Text], AfterValidator(environment)]
