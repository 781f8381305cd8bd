"""Writes docs/configuration.md (every key of a configuration) and docs/reasons.md (every reason by its code)."""
# ruff: noqa: INP001 - a script

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from suite_keys import row

from evalkit.config import json_schema

FOLDER = Path(__file__).parent
REASONS = FOLDER.parent / "reports" / "reasons.toml"

# Section of the schema: under which key it stands, and what there is to show of it.
SECTIONS = {
    "Limits": ("limits:", "limits: {concurrency: 64, stall_seconds: 900}"),
    "Sampling": ("sampling:", "sampling: {temperature: 0.6, top_p: 0.95, max_tokens: 32768}"),
    "Tls": ("tls:", "tls: {ca_file: /etc/ssl/house.pem}"),
    "Thinking": ("thinking:", 'thinking: {closing_tags: ["</think>"]}'),
    "SuiteChoice": ("suites:", "suites: [aime24, {name: musr, repeats: 4, margin_pt: 2}]"),
    "Overall": ("overall:", "overall: {margin_pt: 1.5}"),
    "JudgeConfig": ("judge:", "judge: {base_url: https://judge.example/v1, model: judge-1, api_key_env: JUDGE_KEY}"),
    "OperatorsSource": ("operators:", "operators: {path: /tmp/flaggems_enable_oplist.txt}"),
    "FlagScaleSource": ("flagscale:", "flagscale: {config: serve.yaml}"),
    "CommandLaunch": ("launch: (kind: command)", "launch: {kind: command, argv: [vllm, serve, Qwen/Qwen3-8B]}"),
    "FlagScaleLaunch": ("launch: (kind: flagscale)", "launch: {kind: flagscale, name: qwen3}"),
    "LlamaCppLaunch": ("launch: (kind: llama_cpp)", "launch: {kind: llama_cpp, model: model.gguf}"),
    "OcrLaunch": ("launch: (kind: ocr)", "launch: {kind: ocr}"),
    "DegradeConfig": ("degrade: of an ocr endpoint", "launch: {kind: ocr, degrade: {jpeg: 20}}"),
}
SAME = {"SamplingOverrides": "Sampling", "JsonValue": ""}
"""Sections that have the keys of another one, or none."""


CONFIGURATION = """
# All keys of a configuration

One file describes one endpoint and what is asked of it. A key that no line here has is refused by file, line and
name, before anything is asked; `${VARIABLE}` and `${VARIABLE:-else}` take a value from the environment, and
`--set KEY=VALUE` stands over the file. `evalkit init` writes a pair to start from, `evalkit schema` prints the JSON
Schema for editors. This page is written by `make docs-commands`.
"""
WHY = """
# All reasons, by code

Verdicts, notes, alerts and INVALID carry a code beside their sentence: in `comparison.json` (`code`, `values`), in
JUnit and in the history. Each sentence says what is the case and, where something is to be done, what. A place in
braces is filled with a value, a part in `<...>` is left out where its value is not known. This page is written by
`make docs-commands`; the catalogue is `reports/reasons.toml`.
"""


def configuration() -> str:
    """The page of all keys, in the order of the schema."""
    schema = json_schema()
    parts = [
        CONFIGURATION.strip(),
        "## Of the file",
        table(schema),
    ]
    for name, (where, example) in SECTIONS.items():
        section = schema["$defs"][name]
        told = " ".join(section["description"].split())
        parts += [f"## `{where}`", told, f"```yaml\n{example}\n```", table(section)]
    parts.append("Next: [suites of your own](suites.md), [FlagScale](flagscale.md), [all commands](commands.md).")
    return "\n\n".join(parts) + "\n"


def table(section: Mapping[str, Any]) -> str:
    """The keys of a section, one a row."""
    rows = [row(key, about, key in section.get("required", ())) for key, about in section["properties"].items()]
    return "\n".join(["| key | value | without it | meaning |", "|---|---|---|---|", *rows])


def reasons() -> str:
    """The page of all codes, under the headings of the catalogue, in its order."""
    text = REASONS.read_text(encoding="utf-8")
    said = tomllib.loads(text)
    parts = [WHY.strip()]
    for heading, codes in _headings(text):
        rows = [f"| `{code}` | {_cell(said[code]['en'])} | {_cell(said[code]['zh'])} |" for code in codes]
        parts += [
            f"## {heading[:1].upper()}{heading[1:]}",
            "\n".join(["| code | English | Chinese |", "|---|---|---|", *rows]),
        ]
    parts.append("Next: [how a verdict is reached](statistics.md), [reports](reports.md).")
    return "\n\n".join(parts) + "\n"


def _headings(text: str) -> Iterator[tuple[str, list[str]]]:
    heading, codes = "", list[str]()
    for line in text.splitlines():
        if line.startswith("# ----"):
            if codes:
                yield heading, codes
            heading, codes = line.strip("# -"), []
        elif line.startswith("["):
            codes.append(line.strip('[]"'))
    yield heading, codes


def _cell(text: str) -> str:
    """A sentence within a table: nothing of it is markup."""
    one_line = " ".join(text.split())
    return one_line.replace("&", "&amp;").replace("<", "&lt;").replace("|", "&#124;").replace("*", "\\*")


PAGES = {"configuration.md": configuration, "reasons.md": reasons}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")
