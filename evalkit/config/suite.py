"""A suite's YAML, checked as an endpoint's is: all under `metadata: evalkit:`, what is read of lm-eval's keys, packs.

lm-eval reads the same file: its own keys stay its own, and of those only what evalkit reads is checked. What only the
documents can tell (a field that `strata` names) is checked by `evalkit.tasks.items` before anything is asked.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, JsonValue, ValidationError, model_validator

from evalkit.config.base import NUMBER, Count, Section, Word, conflict, matching, refuse
from evalkit.config.problems import problems
from evalkit.config.schema import JSON_SCHEMA_DIALECT, Overall, SuiteChoiceOrName
from evalkit.config.yaml import KeyPath, Node, Origin, dotted, find, parse_file, read_bytes
from evalkit.errors import ConfigError, SuiteError
from evalkit.model import DEFAULT_MARGIN_PT, P_GOLD_MARGIN_PT
from evalkit.options import LEAST_POINTS

FUNCTION_TAG: Final = "!function"
MAX_INCLUDES: Final = 100

S = TypeVar("S", bound=Section)

OneLine = Annotated[str, AfterValidator(lambda value: " ".join(value.split()))]
# One name stands for a list of one, and the name of a split for the one part of that name.
Names = Annotated[
    tuple[Word, ...],
    BeforeValidator(lambda given: [given] if isinstance(given, str) else given, json_schema_input_type=str | list[str]),
]
Function = Annotated[
    Word,
    matching(
        r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*",
        "function",
        "must be module:function, of a module that can be imported or of a .py file beside this one",
    ),
]
Settings = Annotated[dict[Word, Word], Field(max_length=100)]


class Part(Section):
    """One table of a data set."""

    name: Word | None = None
    config: Word | None = None
    split: Word = "train"

    @property
    def called(self) -> str:
        """How evalkit calls it, and the file's name."""
        return self.name or self.split


Parts = Annotated[
    tuple[Part, ...],
    Field(min_length=1),
    BeforeValidator(
        lambda given: [{"split": given}] if isinstance(given, str) else given, json_schema_input_type=str | list[Part]
    ),
]


class Shots(Section):
    """Worked examples that every item carries: the first of another split that have the same field value."""

    split: Word
    by: Word
    count: Count


class Source(Section):
    """Where a suite's data set is: on a hub, in a file beside the suite, or given by the user as `data:`."""

    hub: Word | None = None
    revision: Word | None = None
    modelscope: Word | None = None
    file: Word | None = None
    folder: Names = ()
    files: Names = ()
    splits: dict[Word, Parts] = Field(default={"test": (Part(split="test"),)})
    shots: Shots | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        splits, shots = self.splits, self.shots.split if self.shots is not None else "test"
        moving = self.hub is not None and self.revision is None
        refuse(moving, "hub needs a revision: a commit of the data set, so that its items stay the same", "hub")
        both = self.hub is not None and self.file is not None
        refuse(both, "hub and file exclude each other: the data set is in one place", "hub", "file")
        refuse("test" not in splits, "splits has no 'test': the items come from there", "splits")
        refuse(shots not in splits, f"shots.split is {shots!r}, and splits has {', '.join(splits)} only", "shots")
        return self

    @property
    def title(self) -> str:
        """How messages call the data set."""
        return self.hub or self.file or (self.folder[0] if self.folder else "data set")

    @property
    def names(self) -> tuple[str, ...]:
        """The names that it goes by: as folders on this machine, and as keys of an endpoint's `data:`."""
        return (*self.folder, *((self.hub.split("/")[-1],) if self.hub else ()))


class SuiteFields(Section):
    """What stands under `metadata: evalkit:` of a suite's file."""

    label: Word | None = None
    about: OneLine = ""
    scorer: Word | None = None
    right_or_wrong: bool = False
    rows: Count | None = None
    repeats: Count = 1
    margin_pt: Annotated[float, Field(ge=LEAST_POINTS, le=100), NUMBER] = DEFAULT_MARGIN_PT
    p_gold_margin_pt: Annotated[float, Field(ge=LEAST_POINTS, le=100), NUMBER] = P_GOLD_MARGIN_PT
    chance: Annotated[float, Field(ge=0, lt=1), NUMBER] | None = None
    licence: Word = "see the data set"
    gated: bool = False
    headline: Literal["micro", "macro", "nested"] = "micro"
    strata: Names = ()
    tags: dict[Word, Word] = Field(default_factory=dict)
    cluster: Word | None = None
    weight: Word | None = None
    max_tokens: Count | None = None
    needs: tuple[Literal["code_execution", "judge", "optional_pictures", "prompt_logprobs"], ...] = ()
    order: Literal["longest_first", "shared_prefix", "as_stored"] = "longest_first"
    prepare: Function | None = None
    options: dict[Word, JsonValue] = Field(default_factory=dict)
    settings: Settings = Field(default_factory=dict)
    source: Source = Source()
    part_of: Word | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.headline != "micro" and not self.strata:
            raise conflict(f"headline {self.headline} needs strata: fields to take means by", "headline")
        for need, scorer in (("judge", "judge"), ("prompt_logprobs", "option_logprobs")):
            if (need in self.needs) != (self.scorer == scorer) and self.part_of is None:
                raise conflict(
                    f"scorer {scorer} and needs [{need}] go together: give both or neither", "needs", "scorer"
                )
        if "p_gold_margin_pt" in self.model_fields_set and "prompt_logprobs" not in self.needs:
            raise conflict("p_gold_margin_pt is for a suite that needs [prompt_logprobs]", "p_gold_margin_pt")
        if self.part_of is not None and (given := sorted(self.model_fields_set - _OF_A_PART)):
            raise conflict(f"{given[0]} has no effect in a part: say it in the file of {self.part_of}", *given)
        return self


_OF_A_PART: Final = frozenset(
    {"part_of", "scorer", "right_or_wrong", "prepare", "options", "settings", "source", "needs", "rows", "about"}
)


class LmEvalSection(Section):
    """A section whose other keys are lm-eval's."""

    model_config = ConfigDict(extra="ignore")


_LIMITS: Final = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""The keys under which lm-eval looks for the longest answer; the first that is there holds."""


class Length(LmEvalSection):
    """What is read of lm-eval's `generation_kwargs`."""

    max_gen_toks: Count | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_limit(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        unknown = [key for key in given if str(key).startswith("max_") and key not in _LIMITS]
        refuse(unknown, f"nothing reads {', '.join(unknown)}: the longest answer is max_gen_toks", *unknown)
        limits = [given[key] for key in _LIMITS if key in given]
        return {**given, "max_gen_toks": limits[0]} if limits else given


class Generation(Length):
    """What is read of lm-eval's `generation_kwargs` in a suite."""

    until: Names | None = None


class Metadata(LmEvalSection):
    """What is read of lm-eval's `metadata`."""

    evalkit: SuiteFields


class SuiteFile(LmEvalSection):
    """What evalkit reads of a suite's file; all other keys are lm-eval's."""

    task: Annotated[Names, Field(min_length=1)]
    group: Word | None = None
    output_type: Word = "generate_until"
    doc_to_text: JsonValue = None
    generation_kwargs: Generation = Generation()
    metadata: Metadata

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        unnamed, fields = self.group is None, self.metadata.evalkit
        refuse(unnamed and len(self.task) != 1, "task is a list, so group must say what the suite is called", "task")
        wanted = "multiple_choice" if "prompt_logprobs" in fields.needs else "generate_until"
        told = f"output_type is {self.output_type}, evalkit asks for {wanted}"
        fix = "multiple_choice goes with needs: [prompt_logprobs]"
        refuse(unnamed and self.output_type != wanted, f"{told}: {fix}", "output_type")
        refuse(unnamed and self.doc_to_text is None, "doc_to_text is missing: the template of a prompt", "task")
        return self


class ForeignFile(LmEvalSection):
    """What evalkit reads of a task file that has no word for it."""

    task: Word
    task_alias: Word | None = None
    output_type: str = "generate_until"
    repeats: Count = 1
    generation_kwargs: Length = Length()


class PackFile(Section):
    """A named list of suites with tolerances: a file under `packs/`.

    `contract` and `probe` say what both endpoints are held to before the suites are asked.
    """

    about: OneLine = ""
    contract: bool = False
    probe: bool = False
    overall: Overall | None = None
    rounds: Annotated[int, Field(ge=1, le=20), NUMBER] = 5
    suites: Annotated[tuple[SuiteChoiceOrName, ...], Field(min_length=1)]


class Pack(PackFile):
    """A pack, and where it was found."""

    name: str
    file: Path


Points = Annotated[float, Field(gt=0, lt=100), NUMBER]
Margin = Annotated[float, Field(ge=LEAST_POINTS, lt=100), NUMBER]


class Rule(Section):
    """What two numbers may differ by: a share of the reference's score (in per cent), or percentage points."""

    loss_pct: Points | None = None
    loss_pt: Points | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        refuse((self.loss_pct is None) == (self.loss_pt is None), "say one of loss_pct and loss_pt", "loss_pct")
        return self

    def allowed(self, reference: float) -> float:
        """By how much a candidate may score less than this reference; both fractions."""
        return reference * self.loss_pct / 100 if self.loss_pct is not None else (self.loss_pt or 0.0) / 100


class PolicyFile(Section):
    """What decides a comparison: margins in percentage points, suites that do not decide, a rule of thumb beside."""

    about: OneLine = ""
    margin_pt: Margin | None = None
    margins_pt: dict[Word, Margin] = Field(default_factory=dict)
    overall_margin_pt: Margin | None = None
    advisory: tuple[Word, ...] = ()
    rule: Rule | None = None


class Suite(SuiteFields):
    """A suite: what its file says of it, and where it was found. `file` is lm-eval's own for a task of its library."""

    name: str
    label: str
    file: Path
    origin: str
    tasks: tuple[str, ...]
    pictures: bool = False

    def error(self, key: str, sentence: str) -> SuiteError:
        """What is wrong with a key under `metadata: evalkit:`, to be raised."""
        return SuiteError(f"{where(self.file, key)}: {sentence}")


def where(file: Path, key: str) -> str:
    """File, line and key of something under `metadata: evalkit:`, as messages begin with."""
    path: KeyPath = ("metadata", "evalkit", *key.split("."))
    node = find(task_tree(file), path)
    return f"{file if node is None else node.origin}: {dotted(path)}"


# Reading


def task_tree(path: Path) -> Node:
    """One lm-eval YAML file with its `include:` chain merged and the place of every key, functions as text.

    Raises `SuiteError`: where a file cannot be read, is no mapping, or includes itself; with the line.
    """
    return _tree(path, (), [])


def read_task(path: Path) -> dict[str, Any]:
    """`task_tree` without the places. Raises `SuiteError`: as `task_tree`."""
    plain: dict[str, Any] = task_tree(path).plain()
    return plain


def chain(path: Path) -> list[Path]:
    """The file and every file that it includes, in the order in which they are read.

    Raises `SuiteError`: as `task_tree`.
    """
    files: list[Path] = []
    _tree(path, (), files)
    return files


def _tree(path: Path, above: tuple[Path, ...], files: list[Path]) -> Node:
    """`task_tree`; puts the files that were read into `files`."""
    real = path.resolve()
    if real in above:
        raise SuiteError(f"{path}: include: the file includes itself; remove one of the include lines")
    files.append(real)
    if len(files) > MAX_INCLUDES:
        raise SuiteError(f"{files[0]}: include: more than {MAX_INCLUDES} files include one another, each time counted")
    own = _parsed(path)
    if not isinstance(own.value, Mapping):
        raise SuiteError(f"{own.origin}: a suite file is a mapping of keys, not {type(own.plain()).__name__}")
    merged: dict[str, Node] = {}
    if (include := own.child("include")) is not None:
        for one in include.value if isinstance(include.value, tuple) else [include]:
            if not isinstance(one.value, str) or not one.value:
                raise SuiteError(f"{one.origin}: include: must be the path of a file, or a list of them")
            inherited = _tree(real.parent / one.value, (*above, real), files).value
            merged.update(inherited if isinstance(inherited, Mapping) else {})
    merged.pop("task_list", None)
    return Node({**merged, **{key: node for key, node in own.value.items() if key != "include"}}, own.origin)


def _parsed(path: Path) -> Node:
    """One file by itself; a `SuiteError` with the line where it cannot be read or is no YAML."""
    try:
        return parse_file(path, tags=(FUNCTION_TAG,))
    except ConfigError as error:
        raise SuiteError(str(error)) from None


def text_of(path: Path) -> bytes:
    """A suite's file, unread. Raises `SuiteError`: it cannot be read, is too large, or is a pipe or device."""
    try:
        return read_bytes(path)
    except ConfigError as error:
        raise SuiteError(str(error)) from None


# Checking


def is_suite(raw: Mapping[str, Any]) -> bool:
    """True for a file with `metadata: evalkit:`; any other is lm-eval's alone."""
    metadata = raw.get("metadata")
    return isinstance(metadata, Mapping) and "evalkit" in metadata


def checked(model: type[S], given: Any, tree: Callable[[], Node]) -> S:
    """What was read, checked by its model; `tree` has the places of it, for the sentences.

    Raises `SuiteError`: everything that is wrong, one line each, with file, line, key and what it must be.
    """
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise SuiteError(problems(error, tree(), model)) from None


def check_suite(path: Path, raw: Mapping[str, Any]) -> SuiteFile:
    """What `read_task` gave for a suite's file, checked.

    Raises `SuiteError`: everything that is wrong, one line each, with file, line, key and what it must be.
    """
    return checked(SuiteFile, raw, lambda: task_tree(path))


def check_fields(fields: Mapping[str, Any]) -> SuiteFields:
    """What stands under `metadata: evalkit:`, as lm-eval hands it to a loader of documents, checked.

    Raises `SuiteError`: everything that is wrong, one line each, without a line of the file.
    """
    return checked(SuiteFields, fields, lambda: Node({}, Origin("metadata.evalkit")))


def parse_suite(path: Path, origin: str, raw: Mapping[str, Any] | None = None) -> Suite | None:
    """The suite that a YAML file describes; None for a file without `metadata: evalkit:`, and for a part of a group.

    Raises `SuiteError`: everything that is wrong, one line each, with file, line, key and what it must be.
    """
    raw = read_task(path) if raw is None else raw
    if not is_suite(raw):
        return None
    file = check_suite(path, raw)
    fields = file.metadata.evalkit
    if fields.part_of is not None:
        return None
    name = file.group or file.task[0]
    said = {key: getattr(fields, key) for key in SuiteFields.model_fields}
    return Suite.model_construct(
        **{
            **said,
            "name": name,
            "label": fields.label or name,
            "max_tokens": fields.max_tokens or file.generation_kwargs.max_gen_toks,
            "file": path,
            "origin": origin,
            "tasks": file.task,
            "pictures": bool(raw.get("doc_to_image")),
        }
    )


def parse_pack(path: Path) -> Pack:
    """The pack that a file describes.

    Raises `SuiteError`: everything that is wrong, one line each, with file, line, key and what it must be.
    """
    tree = _parsed(path)
    file = checked(PackFile, tree.plain(), lambda: tree)
    return Pack.model_construct(name=path.stem, file=path, **dict(file))


def policy_schema() -> dict[str, Any]:
    """The JSON Schema of a policy file."""
    return {"$schema": JSON_SCHEMA_DIALECT, **PolicyFile.model_json_schema(), "title": "evalkit policy"}


def suite_schema() -> dict[str, Any]:
    """The JSON Schema of a suite's file, for editors that complete and check as one types."""
    schema = SuiteFile.model_json_schema(mode="validation")
    schema["properties"]["include"] = {
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
        "description": "Files whose keys hold where this one does not say otherwise.",
    }
    # What an included file says is not required here.
    schema.pop("required", None)
    return {"$schema": JSON_SCHEMA_DIALECT, **schema, "title": "evalkit suite"}
