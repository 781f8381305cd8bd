"""A suite's YAML, checked as an endpoint's is: all under `metadata: evalkit:`, what is read of lm-eval's keys, packs.

lm-eval reads the same file: its own keys stay its own, and of those only what evalkit reads is checked. What only the
documents can tell (a field that `strata` names) is checked by `evalkit.tasks.items` before anything is asked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, JsonValue, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from evalkit.config.base import NUMBER, Count, Section, Word, conflict
from evalkit.config.problems import problems
from evalkit.config.schema import JSON_SCHEMA_DIALECT, SuiteChoiceOrName
from evalkit.config.yaml import KeyPath, Node, Origin, dotted, find, parse_file
from evalkit.errors import ConfigError, SuiteError
from evalkit.model import DEFAULT_MARGIN_PT

FUNCTION_TAG: Final = "!function"

Need: TypeAlias = Literal["code_execution", "judge", "optional_pictures", "prompt_logprobs"]
Order: TypeAlias = Literal["longest_first", "shared_prefix", "as_stored"]
Headline: TypeAlias = Literal["micro", "macro", "nested"]

_FUNCTION: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def _one_line(value: str) -> str:
    return " ".join(value.split())


def _several(value: Any) -> Any:
    """One name stands for a list of one."""
    return [value] if isinstance(value, str) else value


def _parts(value: Any) -> Any:
    """The name of a split stands for the one part of that name."""
    return [{"split": value}] if isinstance(value, str) else value


def _function(value: str) -> str:
    if not _FUNCTION.fullmatch(value):
        raise PydanticCustomError(
            "function", "must be module:function, of a module that can be imported or of a .py file beside this one"
        )
    return value


Names = Annotated[tuple[Word, ...], BeforeValidator(_several, json_schema_input_type=str | list[str])]
Function = Annotated[Word, AfterValidator(_function)]
Settings = Annotated[dict[Word, Word], Field(max_length=100)]


class Part(Section):
    """One table of a data set."""

    name: Word | None = Field(
        default=None, description="How evalkit calls it, and the file's name; null: as the split."
    )
    config: Word | None = Field(default=None, description="The publisher's name for the table's configuration.")
    split: Word = Field(default="train", description="The publisher's name for the split.")


Parts = Annotated[
    tuple[Part, ...], Field(min_length=1), BeforeValidator(_parts, json_schema_input_type=str | list[Part])
]


def _only_test() -> dict[str, tuple[Part, ...]]:
    return {"test": (Part(split="test"),)}


class Shots(Section):
    """Worked examples that every item carries: the first of another split that have the same field value."""

    split: Word = Field(description="The split that holds the examples.")
    by: Word = Field(description="The field whose value item and example share.")
    count: Count = Field(description="Examples for each item.")


class Source(Section):
    """Where a suite's data set is: on a hub, in a file beside the suite, or given by the user as `data:`."""

    hub: Word | None = Field(default=None, description="Data set on the Hugging Face Hub, OWNER/NAME.")
    revision: Word | None = Field(
        default=None, description="Its revision: a commit, so that the items stay the same. Needed with `hub`."
    )
    modelscope: Word | None = Field(default=None, description="The same data set on ModelScope.")
    file: Word | None = Field(default=None, description="A data file that lies beside the suite's.")
    folder: Names = Field(
        default=(), description="Names of the data set's folder on a machine, and keys of an endpoint's `data:`."
    )
    files: Names = Field(default=(), description="Patterns of the hub's files to fetch; none: all data files.")
    splits: dict[Word, Parts] = Field(
        default_factory=_only_test,
        description="The splits that evalkit reads, `test` among them: each the publisher's name for it, or a list of "
        "{name, config, split}.",
    )
    shots: Shots | None = Field(default=None, description="Worked examples of another split, for `fewshot_config`.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.hub is not None and self.revision is None:
            raise conflict("hub needs a revision: a commit of the data set, so that its items stay the same", "hub")
        if self.hub is not None and self.file is not None:
            raise conflict("hub and file exclude each other: the data set is in one place", "hub", "file")
        if "test" not in self.splits:
            raise conflict("splits has no 'test': the items come from there", "splits")
        if self.shots is not None and self.shots.split not in self.splits:
            raise conflict(
                f"shots.split is {self.shots.split!r}, and splits has {', '.join(self.splits)} only", "shots"
            )
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

    label: Word | None = Field(default=None, description="How tables name the suite; null: its name.")
    about: Annotated[str, AfterValidator(_one_line)] = Field(
        default="", description="What it asks, in a sentence, for `evalkit suites`."
    )
    scorer: Word | None = Field(
        default=None,
        description="What grades an answer: a scorer of evalkit's own by its name, or module:function of yours, of a "
        ".py file beside this one too; `judge`: the model of the endpoint's `judge:`. Null: the task's own metric.",
    )
    right_or_wrong: bool = Field(
        default=False,
        description="True: every score is 1 or 0 and nothing between. A mean must then be a count over the number of "
        "samples, and any other score is refused as a mistake of the scorer.",
    )
    rows: Count | None = Field(
        default=None, description="Items of the whole data set; another number is refused. Null: not checked."
    )
    repeats: Count = Field(default=1, description="Samples of every item, where the answers are drawn (not greedy).")
    margin_pt: Annotated[float, Field(gt=0, le=100), NUMBER] = Field(
        default=DEFAULT_MARGIN_PT, description="Tolerance in percentage points."
    )
    chance: Annotated[float, Field(ge=0, lt=1), NUMBER] | None = Field(
        default=None, description="Score of a blind guess, 0 to 1; a run near it is not judged. Null: not known."
    )
    licence: Word = Field(default="see the data set", description="Under what terms the data set is.")
    gated: bool = Field(default=False, description="True: reports show scores and no texts of its items.")
    headline: Headline = Field(
        default="micro",
        description="How item scores become the suite's number. micro: mean over items, by weight; macro: mean of the "
        "means by the first field of `strata`; nested: mean of means at every level of `strata`.",
    )
    strata: Names = Field(default=(), description="Fields of a document that say where it is counted, outermost first.")
    tags: dict[Word, Word] = Field(
        default_factory=dict,
        description="Further headings under which an item is counted, for information: heading to the field that "
        "holds the words (one or a list).",
    )
    cluster: Word | None = Field(
        default=None,
        description="Field whose equal values make items depend on each other (a shared story); `pictures`: the same "
        "pictures.",
    )
    weight: Word | None = Field(
        default=None, description="Field with the item's weight in the mean, a number of at least 0; null: all alike."
    )
    max_tokens: Count | None = Field(
        default=None, description="Longest answer in tokens; null: `max_gen_toks` of `generation_kwargs`."
    )
    needs: tuple[Need, ...] = Field(
        default=(),
        description="What it cannot run without: code_execution (a sandbox for programs), judge (a model that "
        "grades), prompt_logprobs (log-probabilities of given texts); optional_pictures: items with pictures are left "
        "out unless the setting `pictures` is on.",
    )
    order: Order = Field(
        default="longest_first",
        description="In what order items are asked. longest_first: by expected length; shared_prefix: in file order, "
        "so that a server can reuse what prompts share; as_stored: in file order, so that pictures are read once.",
    )
    prepare: Function | None = Field(
        default=None,
        description="What makes documents of the data set's rows: module:function, which may be a .py file beside "
        "this one. Null: the rows as they are.",
    )
    options: dict[Word, JsonValue] = Field(default_factory=dict, description="Options of `prepare`.")
    settings: Settings = Field(
        default_factory=dict,
        description="Settings that an endpoint's file may give this suite, name to what it does; they reach `prepare` "
        "with its options.",
    )
    source: Source = Field(default=Source(), description="Where the data set is.")
    part_of: Word | None = Field(
        default=None, description="The group that this file is a task of: it is no suite by itself."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.headline != "micro" and not self.strata:
            raise conflict(f"headline {self.headline} needs strata: fields to take means by", "headline")
        for need, scorer in (("judge", "judge"), ("prompt_logprobs", "option_logprobs")):
            if (need in self.needs) != (self.scorer == scorer) and self.part_of is None:
                raise conflict(
                    f"scorer {scorer} and needs [{need}] go together: give both or neither", "needs", "scorer"
                )
        if self.part_of is not None and (given := sorted(self.model_fields_set - _OF_A_PART)):
            raise conflict(f"{given[0]} has no effect in a part: say it in the file of {self.part_of}", *given)
        return self


_OF_A_PART: Final = frozenset(
    {"part_of", "scorer", "right_or_wrong", "prepare", "options", "settings", "source", "needs", "rows", "about"}
)


class LmEvalSection(Section):
    """A section whose other keys are lm-eval's."""

    model_config = ConfigDict(extra="ignore")


class Length(LmEvalSection):
    """What is read of lm-eval's `generation_kwargs`."""

    max_gen_toks: Count | None = Field(default=None, description="Longest answer in tokens.")


class Generation(Length):
    """What is read of lm-eval's `generation_kwargs` in a suite."""

    until: Names | None = Field(default=None, description="Texts that end an answer.")


class Metadata(LmEvalSection):
    """What is read of lm-eval's `metadata`."""

    evalkit: SuiteFields = Field(description="What evalkit needs to know of the suite.")


class SuiteFile(LmEvalSection):
    """What evalkit reads of a suite's file; all other keys are lm-eval's."""

    task: Annotated[Names, Field(min_length=1)] = Field(description="Name of the task; with `group`, its tasks.")
    group: Word | None = Field(default=None, description="Name of a suite of several tasks.")
    output_type: Word = Field(default="generate_until", description="generate_until, or multiple_choice.")
    generation_kwargs: Generation = Field(default=Generation(), description="How lm-eval would generate.")
    metadata: Metadata = Field(description="Holds `evalkit`.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.group is None and len(self.task) != 1:
            raise conflict("task is a list, so group must say what the suite is called", "task")
        wanted = "multiple_choice" if "prompt_logprobs" in self.metadata.evalkit.needs else "generate_until"
        if self.group is None and self.output_type != wanted:
            raise conflict(
                f"output_type is {self.output_type}, evalkit asks for {wanted}: multiple_choice goes with "
                "needs: [prompt_logprobs]",
                "output_type",
            )
        return self


class ForeignFile(LmEvalSection):
    """What evalkit reads of a task file that has no word for it."""

    task: Word = Field(description="Name of the task.")
    task_alias: Word | None = Field(default=None, description="How tables name it.")
    output_type: str = Field(default="generate_until", description="What the task asks for.")
    repeats: Count = Field(default=1, description="Samples of every item.")
    generation_kwargs: Length = Field(default=Length(), description="How lm-eval would generate.")


class PackFile(Section):
    """A named list of suites with tolerances: a file under `packs/`."""

    about: Annotated[str, AfterValidator(_one_line)] = Field(default="", description="What the pack is for.")
    suites: Annotated[tuple[SuiteChoiceOrName, ...], Field(min_length=1)] = Field(
        description="Its suites: names, or what an endpoint's `suites` may say."
    )


class Pack(PackFile):
    """A pack, and where it was found."""

    name: str = Field(description="The name by which endpoints ask for it: its file's.")
    file: Path = Field(description="The file that describes it.")


class Suite(SuiteFields):
    """A suite: what its file says of it, and where it was found. `file` is lm-eval's own for a task of its library."""

    name: str = Field(description="The name by which endpoints ask for it.")
    label: str = Field(description="How tables name it.")
    file: Path = Field(description="The file that describes it.")
    origin: str = Field(description="The folder that it was found in, `evalkit` or `lm-eval`.")
    tasks: tuple[str, ...] = Field(description="Its tasks: itself, or a group's.")
    pictures: bool = Field(default=False, description="True where its items have pictures.")

    def error(self, key: str, sentence: str) -> SuiteError:
        """What is wrong with a key under `metadata: evalkit:`, to be raised."""
        return SuiteError(f"{where(self.file, key)}: {sentence}")


def where(file: Path, key: str) -> str:
    """File, line and key of something under `metadata: evalkit:`, as messages begin with."""
    path: KeyPath = ("metadata", "evalkit", *key.split("."))
    node = find(task_tree(file), path)
    return f"{file if node is None else node.origin}: {dotted(path)}"


# ----------------------------------------------------------------
# Reading


def task_tree(path: Path) -> Node:
    """One lm-eval YAML file with its `include:` chain merged and the place of every key, functions as text.

    Raises:
        SuiteError: where a file cannot be read, is no mapping, or includes itself; with the line.
    """
    return _tree(path, (), [])


def read_task(path: Path) -> dict[str, Any]:
    """`task_tree` without the places.

    Raises:
        SuiteError: as `task_tree`.
    """
    plain: dict[str, Any] = task_tree(path).plain()
    return plain


def chain(path: Path) -> list[Path]:
    """The file and every file that it includes, in the order in which they are read.

    Raises:
        SuiteError: as `task_tree`.
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
    """One file by itself.

    Raises:
        SuiteError: where it cannot be read or is no YAML, with the line.
    """
    try:
        return parse_file(path, tags=(FUNCTION_TAG,))
    except ConfigError as error:
        raise SuiteError(str(error)) from None


# ----------------------------------------------------------------
# Checking


def is_suite(raw: Mapping[str, Any]) -> bool:
    """True for a file with `metadata: evalkit:`; any other is lm-eval's alone."""
    metadata = raw.get("metadata")
    return isinstance(metadata, Mapping) and "evalkit" in metadata


def check_suite(path: Path, raw: Mapping[str, Any]) -> SuiteFile:
    """What `read_task` gave for a suite's file, checked.

    Raises:
        SuiteError: everything that is wrong, one line each, with file, line, key and what it must be.
    """
    try:
        return SuiteFile.model_validate(raw)
    except ValidationError as error:
        raise SuiteError(problems(error, task_tree(path), SuiteFile)) from None


def check_fields(fields: Mapping[str, Any]) -> SuiteFields:
    """What stands under `metadata: evalkit:`, as lm-eval hands it to a loader of documents, checked.

    Raises:
        SuiteError: everything that is wrong, one line each, without a line of the file.
    """
    try:
        return SuiteFields.model_validate(fields)
    except ValidationError as error:
        raise SuiteError(problems(error, Node({}, Origin("metadata.evalkit")), SuiteFields)) from None


def parse_suite(path: Path, origin: str, raw: Mapping[str, Any] | None = None) -> Suite | None:
    """The suite that a YAML file describes; None for a file without `metadata: evalkit:`, and for a part of a group.

    Raises:
        SuiteError: everything that is wrong, one line each, with file, line, key and what it must be.
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

    Raises:
        SuiteError: everything that is wrong, one line each, with file, line, key and what it must be.
    """
    tree = _parsed(path)
    try:
        file = PackFile.model_validate(tree.plain())
    except ValidationError as error:
        raise SuiteError(problems(error, tree, PackFile)) from None
    return Pack.model_construct(name=path.stem, file=path, about=file.about, suites=file.suites)


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
