"""The model of a suite's file: the shipped suites, what lm-eval's own keys may be, includes, the JSON Schema."""

import os

import jsonschema
import pytest
import yaml

from evalkit.config.suite import (
    SuiteFields,
    check_fields,
    check_suite,
    is_suite,
    parse_pack,
    parse_suite,
    read_task,
    suite_schema,
)
from evalkit.errors import SuiteError
from evalkit.resources import data_folder
from evalkit.tasks.suites import all_suites, find_suite, foreign_suite

FILES = sorted(data_folder("suites").rglob("*.yaml"))
SUITES = [path for path in FILES if "packs" not in path.parts]


class Loader(yaml.SafeLoader):
    """As lm-eval reads a task's file."""


Loader.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_a_shipped_suite_is_sound_by_model_and_schema_and_reads_as_lm_eval_does(path):
    raw = read_task(path)
    assert is_suite(raw)
    fields = check_suite(path, raw).metadata.evalkit
    assert check_fields(raw["metadata"]["evalkit"]) == fields
    jsonschema.validate(raw, suite_schema())
    own = yaml.load(path.read_text(), Loader=Loader)
    own.pop("include", None)
    assert own.items() <= raw.items()


@pytest.mark.parametrize("path", sorted(set(FILES) - set(SUITES)), ids=lambda path: path.stem)
def test_a_shipped_pack_is_sound(path):
    assert parse_pack(path).suites


def test_suites_whose_scorer_gives_right_or_wrong_say_so():
    fields = [check_suite(path, read_task(path)).metadata.evalkit for path in SUITES]
    assert {one.scorer for one in fields if not one.right_or_wrong} == {"livebench", "judge"}


def test_the_schema_is_one_and_knows_every_key():
    schema = suite_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    described = schema["$defs"]["SuiteFields"]
    assert set(described["properties"]) == set(SuiteFields.model_fields)
    assert described["additionalProperties"] is False
    with pytest.raises(jsonschema.ValidationError, match="margn_pt"):
        jsonschema.validate({"task": "x", "metadata": {"evalkit": {"margn_pt": 3}}}, schema)


def test_a_key_of_an_included_file_is_named_there(tmp_path):
    (tmp_path / "base.yaml").write_text("metadata:\n  evalkit:\n    order: longest\n")
    (tmp_path / "own.yaml").write_text("include: base.yaml\ntask: own\n")
    with pytest.raises(SuiteError, match=r"base\.yaml:3: metadata\.evalkit\.order: .*did you mean 'longest_first'"):
        parse_suite(tmp_path / "own.yaml", "test")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("task: [a, b]\nmetadata: {evalkit: {}}\n", "x.yaml:1: task is a list, so group must say"),
        ("metadata: {evalkit: {}}\n", "x.yaml: task is missing"),
        ("task: a\nmetadata: {evalkit: 3}\n", "x.yaml:2: metadata.evalkit: must be a mapping, not 3"),
        ("task: a\ngeneration_kwargs: {max_gen_toks: many}\nmetadata: {evalkit: {}}\n", "x.yaml:2: generation_kwargs.max_"),
        ("task: a\noutput_type: loglikelihood\nmetadata: {evalkit: {}}\n", "x.yaml:2: output_type is loglikelihood"),
        ("task: a\nmetadata:\n  evalkit:\n    order: x\n    order: y\n", "x.yaml:5: 'metadata.evalkit.order' is given twice"),
        ("include: x.yaml\ntask: a\n", "include: the file includes itself"),
        ("include: {a: b}\ntask: a\n", "x.yaml:1: include: must be the path of a file"),
        ("- a\n", "a suite file is a mapping of keys, not list"),
        ("task: [\n", "x.yaml:2: not YAML"),
        ("task: !!python/object/apply:os.system [ls]\n", "is not allowed here"),
        ("task: " + "[" * 100, "nested more than 40 deep"),
        ("task: a\nx: &x\n  y: *x\n", "an alias that holds itself"),
        ("task: " + "a" * 2**20, "is larger than 1 MiB"),
        ("include: pipe.yaml\ntask: a\n", "pipe.yaml: is a pipe or a device"),
        ("include: /dev/zero\ntask: a\n", "/dev/zero: is a pipe or a device"),
        ("include: [many.yaml, many.yaml]\ntask: a\n", "x.yaml: include: more than 100 files include one another"),
        ("a: &a [x, x]\n" + "".join(f"b{n}: &b{n} [*{m}, *{m}]\n" for n, m in enumerate(["a", *(f"b{k}" for k in range(30))])), "holds more than"),
    ],
)  # fmt: skip
def test_what_no_suite_file_may_be_is_said_with_its_line(tmp_path, text, says):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    os.mkfifo(tmp_path / "pipe.yaml")
    for name, included in (("many", "more"), ("more", "most"), ("most", "last"), ("last", "none")):
        (tmp_path / f"{name}.yaml").write_text(f"include: [{', '.join([f'{included}.yaml'] * 9)}]\n")
    (tmp_path / "none.yaml").write_text("task: a\n")
    with pytest.raises(SuiteError) as caught:
        parse_suite(path, "test")
    assert says in str(caught.value)


@pytest.mark.parametrize("key", ["max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens"])
def test_the_longest_answer_is_found_under_each_of_lm_evals_keys(tmp_path, key):
    path = tmp_path / "x.yaml"
    path.write_text(f"task: x\ndoc_to_text: a\ngeneration_kwargs: {{{key}: 4096}}\n")
    assert foreign_suite("x", path, read_task(path)).max_tokens == 4096
    path.write_text(f"{path.read_text()}metadata: {{evalkit: {{}}}}\n")
    assert parse_suite(path, "test").max_tokens == 4096


def test_a_pipe_among_the_suites_of_a_folder_is_said_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(SuiteError, match=r"pipe\.yaml: is a pipe or a device"):
        find_suite("anything", [tmp_path])
    with pytest.raises(SuiteError, match=r"pipe\.yaml: is a pipe or a device"):
        all_suites([tmp_path])


def test_all_that_is_wrong_with_a_file_is_said_at_once(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("task: a\nmetadata:\n  evalkit:\n    margin_pt: -1\n    chance: 2\n    ordr: x\n")
    with pytest.raises(SuiteError) as caught:
        parse_suite(path, "test")
    assert [line.partition(": ")[0].rpartition(":")[2] for line in str(caught.value).splitlines()] == ["4", "5", "6"]


def test_a_file_without_a_word_for_evalkit_is_lm_evals_alone(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("task: a\nmetadata: {version: 1.0}\nanything: {goes: here}\n")
    assert parse_suite(path, "test") is None
