"""The configuration of an endpoint: YAML files into one checked, frozen model."""

from evalkit.config.launch import CommandLaunch, FlagScaleLaunch, Launch, LlamaCppLaunch, OcrLaunch
from evalkit.config.load import load_config, warnings_for, write_pair
from evalkit.config.redact import redact_url, redacted
from evalkit.config.sampling import Sampling
from evalkit.config.schema import Connection, EndpointConfig, JudgeConfig, Limits, SuiteChoice, json_schema, public_dump

__all__ = [
    "CommandLaunch",
    "Connection",
    "EndpointConfig",
    "FlagScaleLaunch",
    "JudgeConfig",
    "Launch",
    "Limits",
    "LlamaCppLaunch",
    "OcrLaunch",
    "Sampling",
    "SuiteChoice",
    "json_schema",
    "load_config",
    "public_dump",
    "redact_url",
    "redacted",
    "warnings_for",
    "write_pair",
]
