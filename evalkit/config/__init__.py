"""The configuration of an endpoint: YAML files into one checked, frozen model."""

from evalkit.config.launch import CommandLaunch, Launch, LlamaCppLaunch
from evalkit.config.sampling import PROFILES, Sampling, SamplingOverrides
from evalkit.config.schema import (
    Connection,
    EndpointConfig,
    JudgeConfig,
    Limits,
    SuiteChoice,
    Thinking,
    Tls,
)

__all__ = [
    "PROFILES",
    "CommandLaunch",
    "Connection",
    "EndpointConfig",
    "JudgeConfig",
    "Launch",
    "Limits",
    "LlamaCppLaunch",
    "Sampling",
    "SamplingOverrides",
    "SuiteChoice",
    "Thinking",
    "Tls",
]
