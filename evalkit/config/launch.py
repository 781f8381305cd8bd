"""Endpoints that evalkit starts and stops itself: llama.cpp or text recognition on this machine, or any command."""

from pathlib import Path
from typing import Annotated, Final, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Field, JsonValue, model_validator
from pydantic_core import PydanticCustomError

from evalkit.config.base import NUMBER, Count, Environment, Seconds, Section, Text, Word, conflict, refuse, short

PORT_MARK: Final = "{port}"

CacheType: TypeAlias = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"]
WeightsType: TypeAlias = Literal["F32", "F16", "BF16", "Q8_0", "Q4_1", "Q4_0"]

_UNQUANTISED: Final = frozenset({"f32", "f16", "bf16"})
KNOWN_MODEL: Final = "smollm2"

# YAML reads a bare `on` or `off` as true or false.
Switch = Annotated[
    Literal["auto", "on", "off"],
    BeforeValidator(
        lambda value: {True: "on", False: "off"}[value] if isinstance(value, bool) else value,
        json_schema_input_type=Literal["auto", "on", "off"] | bool,
    ),
]


class FlagScaleSource(Section):
    """A FlagScale serve configuration that describes this endpoint; all but the first two keys are read from it."""

    config: Path
    overrides: dict[str, JsonValue] = Field(default_factory=dict)
    engine: Text | None = None
    engine_args: dict[str, JsonValue] = Field(default_factory=dict)
    env: Environment = Field(default_factory=dict)


FlagScalePath = Annotated[FlagScaleSource, short("config", Path | FlagScaleSource)]


class _Launch(Section):
    """What every launched endpoint has."""

    sequential: bool = False
    env: Environment = Field(default_factory=dict)


class _StandIn(_Launch):
    """What the embedded servers have."""

    ready_seconds: Seconds = 120.0
    port: Annotated[int, Field(ge=0, le=65_535), NUMBER] = 0


class LlamaCppLaunch(_StandIn):
    """An embedded llama.cpp server (the `demo` extra): for demonstrations, tests and small models on a CPU."""

    kind: Literal["llama_cpp"]
    model: Word = "smollm2"
    weights_type: WeightsType = "F16"
    threads: Count = 1
    slots: Count = 2
    context: Annotated[int, Field(ge=128), NUMBER] = 2048
    cache_type_k: CacheType = "f16"
    cache_type_v: CacheType = "f16"
    flash_attention: Switch = "auto"
    rope_freq_base: Annotated[float, Field(gt=0), NUMBER] | None = None
    chat_template: Word | None = None
    chat_template_file: Path | None = None
    attention_rotation: bool = True

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        both = self.chat_template is not None and self.chat_template_file is not None
        exclude = "chat_template and chat_template_file exclude each other"
        refuse(both, exclude, "chat_template", "chat_template_file")
        unaided = self.cache_type_v not in _UNQUANTISED and self.flash_attention == "off"
        needs = f"cache_type_v {self.cache_type_v} needs flash attention: set flash_attention to on"
        refuse(unaided, needs, "cache_type_v", "flash_attention")
        own = self.model != KNOWN_MODEL
        no_model = own and not self.model.lower().endswith(".gguf")
        refuse(no_model, "model must be smollm2 or the path of a .gguf file", "model")
        typed = own and "weights_type" in self.model_fields_set
        refuse(typed, "weights_type is for smollm2 only: a GGUF file is served as it is", "weights_type", "model")
        return self


class DegradeConfig(Section):
    """Damage done to every picture before it is read: for a candidate that is worse for a known reason."""

    shrink: Annotated[float, Field(gt=0, le=1), NUMBER] = 1.0
    jpeg: Annotated[int, Field(ge=1, le=95), NUMBER] | None = None


class OcrLaunch(_StandIn):
    """An embedded text recogniser that answers chat requests with pictures: real pixels in, text out, no GPU."""

    kind: Literal["ocr"]
    engine: Literal["tesseract", "rapidocr"] = "tesseract"
    languages: Annotated[tuple[Word, ...], Field(min_length=1)] = ("eng",)
    degrade: DegradeConfig = DegradeConfig()
    max_images: Count = 64

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.engine == "rapidocr" and "languages" in self.model_fields_set:
            raise conflict("rapidocr reads Chinese and English together: leave languages out", "languages", "engine")
        return self


class _Program(_Launch):
    """What a server that is a program of its own has."""

    cwd: Path | None = None
    ready_seconds: Seconds = 1800.0
    stop_seconds: Seconds = 30.0
    log: Path | None = None


class CommandLaunch(_Program):
    """Any server command, such as `vllm serve`; evalkit waits until it answers and stops it whatever happens."""

    kind: Literal["command"]
    argv: Annotated[tuple[Text, ...], Field(min_length=1)]
    health_path: Annotated[str, Field(pattern=r"^/")] = "/v1/models"

    @model_validator(mode="after")
    def _has_program(self) -> Self:
        if not self.argv[0].strip():
            raise PydanticCustomError("argv", "argv must begin with the program to run")
        return self

    @property
    def chooses_port(self) -> bool:
        """True where an argument holds {port}, so that evalkit picks a free one."""
        return any(PORT_MARK in argument for argument in self.argv)


class FlagScaleLaunch(_Program):
    """`flagscale serve` with the serve configuration that `flagscale:` names, on this machine alone."""

    kind: Literal["flagscale"]
    program: Annotated[tuple[Word, ...], Field(min_length=1)] = ("flagscale",)
    name: Word | None = None
    config: Path | None = None
    port: Annotated[int, Field(ge=1, le=65_535), NUMBER] | None = None
    model_path: Word | None = None
    engine_args: dict[str, JsonValue] = Field(default_factory=dict)
    flaggems: bool | None = None
    vendor: Word | None = None
    stop_seconds: Seconds = 60.0


Launch: TypeAlias = Annotated[LlamaCppLaunch | OcrLaunch | CommandLaunch | FlagScaleLaunch, Field(discriminator="kind")]
KINDS: Final = ("llama_cpp", "ocr", "command", "flagscale")
