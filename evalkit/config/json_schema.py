"""The JSON Schema of a configuration file, for editors that complete and check as one types."""

from __future__ import annotations

from typing import Any, Final

from evalkit.config.schema import EndpointConfig

JSON_SCHEMA_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """The JSON Schema of one configuration file.

    A file that extends another may leave out what that one says, so nothing is required of it; the model's name may
    come from a FlagScale configuration.
    """
    schema = EndpointConfig.model_json_schema(mode="validation")
    required = schema.pop("required")
    properties = {
        "extends": {
            "type": "string",
            "title": "Extends",
            "description": "A YAML file, relative to this one, whose keys hold where this file does not say otherwise.",
        },
        **schema.pop("properties"),
    }
    return {
        "$schema": JSON_SCHEMA_DIALECT,
        **schema,
        "title": "evalkit endpoint configuration",
        "properties": properties,
        "if": {"not": {"required": ["extends"]}},
        "then": {
            "if": {"not": {"required": ["flagscale"]}},
            "then": {"required": required},
            "else": {"required": [key for key in required if key != "model"]},
        },
    }
