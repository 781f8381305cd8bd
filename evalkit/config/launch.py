"""Endpoints that evalkit starts and stops itself: llama.cpp or text recognition on this machine, or any command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Field, JsonValue, model_validator
from pydantic_core import PydanticCustomError

from evalkit.config.base import NUMBER, Count, Environment, Seconds, Section, Text, Word, conflict

PORT_MARK: Final = "{port}"

CacheType: TypeAlias = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"]
WeightsType: TypeAlias = Literal["F32", "F16", "BF16", "Q8_0", "Q4_1", "Q4_0"]

_UNQUANTISED: Final = frozenset({"f32", "f16", "bf16"})
KNOWN_MODEL: Final = "smollm2"


def _switch(value: Any) -> Any:
    """YAML reads a bare `on` or `off` as true or false."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


Switch = Annotated[
    Literal["auto", "on", "off"], BeforeValidator(_switch, json_schema_input_type=Literal["auto", "on", "off"] | bool)
]


def _one_path(value: Any) -> Any:
    """A serve configuration may be given by its bare path."""
    return {"config": value} if isinstance(value, str) else value


class FlagScaleSource(Section):
    """A FlagScale serve configuration that describes this endpoint; all but the first two keys are read from it."""

    config: Path = Field(description="FlagScale's serve.yaml; the files that its defaults name are read too.")
    overrides: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="Dotted keys that FlagScale was started with, e.g. {experiment.envs.USE_FLAGGEMS: true}.",
    )
    engine: Text | None = Field(default=None, description="Read from the file: vllm, sglang or llama_cpp.")
    engine_args: dict[str, JsonValue] = Field(
        default_factory=dict, description="Read from the file: the engine's arguments, so that runs can be told apart."
    )
    env: Environment = Field(default_factory=dict, description="Read from the file: the server's variables.")


FlagScalePath = Annotated[FlagScaleSource, BeforeValidator(_one_path, json_schema_input_type=Path | FlagScaleSource)]


class _Launch(Section):
    """What every launched endpoint has."""

    sequential: bool = Field(
        default=False,
        description="True: the two stacks take turns on the same devices, so the other side is stopped before this one "
        "is started.",
    )
    env: Environment = Field(
        default_factory=dict, description="Environment variables of the server, added to those of evalkit."
    )


class _StandIn(_Launch):
    """What the embedded servers have."""

    ready_seconds: Seconds = Field(
        default=120.0, description="How long the server may take to answer for the first time."
    )
    port: Annotated[int, Field(ge=0, le=65_535), NUMBER] = Field(
        default=0, description="Port on 127.0.0.1; 0: any free one."
    )


class LlamaCppLaunch(_StandIn):
    """An embedded llama.cpp server (the `demo` extra): for demonstrations, tests and small models on a CPU."""

    kind: Literal["llama_cpp"] = Field(description="An embedded llama.cpp server.")
    model: Word = Field(
        default="smollm2",
        description="smollm2 (SmolLM2-135M-Instruct, fetched once into the user's cache), or the path of a GGUF file.",
    )
    weights_type: WeightsType = Field(
        default="F16",
        description="The type smollm2's weights are converted to; a GGUF file of your own is served as it is.",
    )
    threads: Count = Field(
        default=1, description="Compute threads; as many as there are cores collapses on a busy machine."
    )
    slots: Count = Field(default=2, description="Requests that are answered at the same time.")
    context: Annotated[int, Field(ge=128), NUMBER] = Field(
        default=2048, description="Context length of one slot, in tokens."
    )
    cache_type_k: CacheType = Field(default="f16", description="Number format of the keys in the KV cache.")
    cache_type_v: CacheType = Field(
        default="f16", description="Number format of the values in the KV cache; a quantised one needs flash attention."
    )
    flash_attention: Switch = Field(default="auto", description="Flash attention: auto, on or off.")
    rope_freq_base: Annotated[float, Field(gt=0), NUMBER] | None = Field(
        default=None, description="Base of the rotary position embedding; null: as the model file says."
    )
    chat_template: Word | None = Field(
        default=None, description="A chat template as Jinja text, in place of the model's own."
    )
    chat_template_file: Path | None = Field(default=None, description="A file that holds the chat template.")
    attention_rotation: bool = Field(
        default=True,
        description="Rotate keys and values before they are quantised, which protects a quantised KV cache.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.chat_template is not None and self.chat_template_file is not None:
            raise conflict(
                "chat_template and chat_template_file exclude each other", "chat_template", "chat_template_file"
            )
        if self.cache_type_v not in _UNQUANTISED and self.flash_attention == "off":
            raise conflict(
                f"cache_type_v {self.cache_type_v} needs flash attention: set flash_attention to on",
                "cache_type_v",
                "flash_attention",
            )
        if self.model != KNOWN_MODEL and not self.model.lower().endswith(".gguf"):
            raise conflict("model must be smollm2 or the path of a .gguf file", "model")
        if self.model != KNOWN_MODEL and "weights_type" in self.model_fields_set:
            raise conflict("weights_type is for smollm2 only: a GGUF file is served as it is", "weights_type", "model")
        return self


class DegradeConfig(Section):
    """Damage done to every picture before it is read: for a candidate that is worse for a known reason."""

    shrink: Annotated[float, Field(gt=0, le=1), NUMBER] = Field(
        default=1.0, description="Both sides of the picture are scaled by this."
    )
    jpeg: Annotated[int, Field(ge=1, le=95), NUMBER] | None = Field(
        default=None, description="The picture is re-encoded as JPEG of this quality; null: it is not."
    )


class OcrLaunch(_StandIn):
    """An embedded text recogniser that answers chat requests with pictures: real pixels in, text out, no GPU."""

    kind: Literal["ocr"] = Field(description="An embedded text recogniser.")
    engine: Literal["tesseract", "rapidocr"] = Field(
        default="tesseract",
        description="tesseract (a program of the system) or rapidocr (the `ocr` extra); `model` has the same name.",
    )
    languages: Annotated[tuple[Word, ...], Field(min_length=1)] = Field(
        default=("eng",), description="Tesseract's language data, such as [eng, chi_sim]; rapidocr has no choice."
    )
    degrade: DegradeConfig = Field(default=DegradeConfig(), description="Damage done to every picture first.")
    max_images: Count = Field(default=64, description="Requests with more pictures are refused.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.engine == "rapidocr" and "languages" in self.model_fields_set:
            raise conflict("rapidocr reads Chinese and English together: leave languages out", "languages", "engine")
        return self


class CommandLaunch(_Launch):
    """Any server command, such as `vllm serve`; evalkit waits until it answers and stops it whatever happens."""

    kind: Literal["command"] = Field(description="A command that serves until it is stopped.")
    argv: Annotated[tuple[Text, ...], Field(min_length=1)] = Field(
        description="The command and its arguments, one list entry each; no shell reads them. {port} in an argument "
        "stands for a free port, and base_url is then http://127.0.0.1:{port}/v1 unless it is given."
    )
    cwd: Path | None = Field(default=None, description="Working folder of the command; null: evalkit's own.")
    health_path: Annotated[str, Field(pattern=r"^/")] = Field(
        default="/v1/models", description="Path on the server that answers 200 once it is ready."
    )
    ready_seconds: Seconds = Field(
        default=1800.0, description="How long the server may take to answer for the first time."
    )
    stop_seconds: Seconds = Field(
        default=30.0, description="How long the server may take to end after SIGTERM before it is killed."
    )
    log: Path | None = Field(default=None, description="File for the server's output; null: in the run folder.")

    @model_validator(mode="after")
    def _has_program(self) -> Self:
        if not self.argv[0].strip():
            raise PydanticCustomError("argv", "argv must begin with the program to run")
        return self

    @property
    def chooses_port(self) -> bool:
        """True where an argument holds {port}, so that evalkit picks a free one."""
        return any(PORT_MARK in argument for argument in self.argv)


class FlagScaleLaunch(_Launch):
    """`flagscale serve` with the serve configuration that `flagscale:` names, on this machine alone."""

    kind: Literal["flagscale"] = Field(description="FlagScale, with the serve configuration that `flagscale:` names.")
    program: Annotated[tuple[Word, ...], Field(min_length=1)] = Field(
        default=("flagscale",),
        description="How to call it, one list entry each, e.g. [conda, run, -n, flagscale-inference, flagscale].",
    )
    name: Word | None = Field(
        default=None, description="The name argument of `flagscale serve`; null: experiment.exp_name of the file."
    )
    config: Path | None = Field(default=None, description="The serve configuration; null: that of `flagscale:`.")
    port: Annotated[int, Field(ge=1, le=65_535), NUMBER] | None = Field(
        default=None, description="Passed on as --port, over the file's; FlagScale 0.8 and later."
    )
    model_path: Word | None = Field(
        default=None, description="Passed on as --model-path, over the file's; FlagScale 0.8 and later."
    )
    engine_args: dict[str, JsonValue] = Field(
        default_factory=dict, description="Passed on as --engine-args, over the file's; FlagScale 0.8 and later."
    )
    flaggems: bool | None = Field(
        default=None, description="USE_FLAGGEMS of the server: true 1, false 0; null: as the file and the shell say."
    )
    vendor: Word | None = Field(default=None, description="GEMS_VENDOR of the server, such as nvidia; null: not set.")
    cwd: Path | None = Field(
        default=None, description="Working folder, below which FlagScale writes its logs; null: evalkit's own."
    )
    ready_seconds: Seconds = Field(
        default=1800.0, description="How long the server may take to answer for the first time."
    )
    stop_seconds: Seconds = Field(
        default=60.0, description="How long the server may take to end after SIGTERM before it is killed."
    )
    log: Path | None = Field(default=None, description="File for FlagScale's output; null: in the run folder.")


Launch: TypeAlias = Annotated[LlamaCppLaunch | OcrLaunch | CommandLaunch | FlagScaleLaunch, Field(discriminator="kind")]
KINDS: Final = ("llama_cpp", "ocr", "command", "flagscale")
