"""Several addresses of one endpoint: does each answer, with the same model and the same software?"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from evalkit.endpoint.checks.base import Finding, Severity, Subject, failed
from evalkit.endpoint.probe import ServedModels, endpoint_identity, served_models
from evalkit.model import Failure, FailureKind

_SOFTWARE: Final = (
    "server",
    "owned_by",
    "version",
    "llama_cpp_build",
    "sglang_version",
    "model_path",
    "context_tokens",
)


@dataclass(frozen=True, slots=True)
class _Address:
    """What one address says of itself; `url` as it may be said."""

    url: str
    found: ServedModels | Failure
    identity: Mapping[str, str]

    @property
    def answers(self) -> bool:
        """True where something is there, if only without a list of models."""
        return isinstance(self.found, ServedModels) or self.found.kind is FailureKind.NOT_FOUND

    def lists(self, model: str) -> bool:
        """True where it has the model on its list."""
        return isinstance(self.found, ServedModels) and model in self.found.ids


async def check_addresses(subject: Subject) -> tuple[Subject, list[Finding]]:
    """What differs between the addresses, and the subject with those that are fit to be asked."""
    settings = subject.settings
    if len(settings.base_urls) == 1:
        return subject, []
    seen = await asyncio.gather(*(_seen(subject, url) for url in settings.base_urls))
    living = [one for one in seen if one.answers]
    if not living:
        return subject, []  # the examination of the first one says what is wrong
    findings = [_absent(one.found) for one in seen if isinstance(one.found, Failure) and not one.answers]
    listed = any(one.lists(settings.model) for one in living)
    others = [one for one in living if listed and _serves_another(one, settings.model)]
    findings += [_other_model(one, settings.model) for one in others]
    fit = [one for one in living if one not in others]
    findings += _other_software(fit)
    urls = tuple(url for url, one in zip(settings.base_urls, seen, strict=True) if one in fit)
    return replace(subject, settings=replace(settings, base_urls=urls)), findings


async def _seen(subject: Subject, url: str) -> _Address:
    alone = replace(subject.settings, base_urls=(url,))
    found = await served_models(alone)
    gone = isinstance(found, Failure) and found.kind is not FailureKind.NOT_FOUND
    return _Address(alone.shown_urls[0], found, {} if gone else await endpoint_identity(alone))


def _absent(found: Failure) -> Finding:
    why = "the other addresses carry its load, and it is tried again from time to time"
    return failed("addresses", found, why, Severity.WARNING)


def _serves_another(one: _Address, model: str) -> bool:
    return isinstance(one.found, ServedModels) and bool(one.found.ids) and not one.lists(model)


def _other_model(one: _Address, model: str) -> Finding:
    served = ", ".join(repr(name) for name in sorted(one.found.ids)[:5]) if isinstance(one.found, ServedModels) else ""
    return Finding(
        "addresses",
        Severity.PROBLEM,
        f"{one.url} does not serve {model!r}; it serves {served}",
        "its share of the answers would be another model's, or refused",
        "take it out of base_urls, or serve the model there under the same name",
    )


def _other_software(living: list[_Address]) -> list[Finding]:
    findings = []
    for key in _SOFTWARE:
        told = {one.url: one.identity[key] for one in living if key in one.identity}
        if len(set(told.values())) > 1:
            findings.append(
                Finding(
                    "addresses",
                    Severity.WARNING,
                    f"the addresses differ in {key}: {'; '.join(f'{url} {value}' for url, value in told.items())}",
                    "what answers then depends on which address was free",
                    "serve the same software and model at all of them",
                )
            )
    return findings
