"""Loading: files that extend one another, paths, variables, bounds, and places for later messages."""

import os
from pathlib import Path

import pytest
from pydantic import BaseModel

from evalkit.config import EndpointConfig, load_config
from evalkit.config.load import PATH_KEYS
from evalkit.errors import ConfigError


def refusal(path, *overrides):
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    return str(caught.value)


def test_the_smallest_file_is_enough(load, smallest):
    config = load(smallest)
    assert (config.name, config.urls, config.model) == ("ref", ("http://127.0.0.1:8000/v1",), "m")


def test_a_byte_order_mark_and_windows_lines_are_no_mistake(folder, smallest):
    (folder / "w.yaml").write_bytes(b"\xef\xbb\xbf" + smallest.replace("\n", "\r\n").encode())
    assert load_config("w.yaml").name == "ref"


def test_the_path_may_be_any_path(folder, smallest):
    (folder / "w.yaml").write_text(smallest)
    assert load_config(folder / "w.yaml") == load_config(str(folder / "w.yaml"))


# ---------------------------------------------------------------- extends


def test_a_chain_of_files_merges_and_the_nearest_wins(folder, load, smallest):
    (folder / "base.yaml").write_text("limits: {retries: 1, concurrency: 2}\nsuites: [a, b]\nbuild: base\n")
    (folder / "common.yaml").write_text("extends: base.yaml\nlimits: {retries: 3}\nsuites: [c]\n")
    config = load("extends: common.yaml\n" + smallest + "limits: {stall_seconds: 4}\n")
    assert (config.limits.retries, config.limits.concurrency, config.limits.stall_seconds) == (3, 2, 4)
    assert [suite.name for suite in config.suites] == ["c"]
    assert config.build == "base"


def test_null_takes_away_what_the_shared_file_says(folder, load, smallest):
    (folder / "common.yaml").write_text("build: base\njudge: {base_url: http://j/v1, model: j}\n")
    config = load("extends: common.yaml\nbuild:\njudge: null\n" + smallest)
    assert (config.build, config.judge) == (None, None)


def test_the_extended_file_may_lie_elsewhere_and_be_named_by_a_variable(folder, load, smallest, monkeypatch):
    (folder / "shared").mkdir()
    (folder / "shared" / "common.yaml").write_text("build: base\n")
    monkeypatch.setenv("SHARED", "shared")
    assert load("extends: ${SHARED}/common.yaml\n" + smallest).build == "base"


@pytest.mark.parametrize(
    ("extends", "message"),
    [
        ("nope.yaml", "ref.yaml:1: extends: nope.yaml: there is no such file"),
        (".", "ref.yaml:1: extends: .: is a folder, not a YAML file"),
        ("[a]", "ref.yaml:1: extends: must be the path of one YAML file"),
        ("", "ref.yaml:1: extends: must be the path of one YAML file"),
        ("ref.yaml", "ref.yaml:1: extends: ref.yaml extends itself in the end: break the circle"),
    ],
)
def test_extending_what_cannot_be_extended(problem, extends, message):
    assert problem(f"extends: {extends}\n") == message


def test_a_circle_is_found_through_links_and_long_ways(folder):
    (folder / "a.yaml").write_text("extends: b.yaml\n")
    (folder / "b.yaml").write_text("extends: ./link.yaml\n")
    (folder / "link.yaml").symlink_to(folder / "a.yaml")
    assert refusal("a.yaml") == "b.yaml:1: extends: link.yaml extends itself in the end: break the circle"


def test_an_endless_chain_is_refused(folder):
    for index in range(30):
        (folder / f"{index}.yaml").write_text(f"extends: {index + 1}.yaml\n")
    assert "more than 10 files extend one another" in refusal("0.yaml")


# ---------------------------------------------------------------- files that are none


def test_files_that_cannot_be_read(folder):
    (folder / "latin.yaml").write_bytes(b"name: x\nmodel: caf\xe9\n")
    (folder / "large.yaml").write_bytes(b"#" * (2**20 + 1))
    assert refusal("nope.yaml") == "nope.yaml: there is no such file"
    assert refusal(".") == ".: is a folder, not a YAML file"
    assert refusal("latin.yaml") == "latin.yaml:2: is not UTF-8 text"
    assert refusal("large.yaml") == "large.yaml: is larger than 1 MiB: is it a configuration?"
    assert refusal("latin.yaml/x") == "latin.yaml/x: cannot be read: Not a directory"
    os.mkfifo(folder / "pipe.yaml")
    for endless in ("pipe.yaml", "/dev/zero"):
        assert refusal(endless) == f"{endless}: is a pipe or a device: write it into a file, and give that"


@pytest.mark.parametrize("text", ["- a\n", "hello\n", "5\n", "[]\n"])
def test_a_file_that_is_no_mapping(problem, text):
    assert problem(text) == "ref.yaml:1: a configuration is a mapping of keys, such as 'name: reference'"


# ---------------------------------------------------------------- paths


def _paths_in(model: type[BaseModel], path=()):
    """Every key whose JSON Schema says that it is a path, as patterns like PATH_KEYS."""
    schema = model.model_json_schema()

    def walk(node, path):
        if "$ref" in node:
            yield from walk(schema["$defs"][node["$ref"].rpartition("/")[2]], path)
        if node.get("format") == "path":
            yield path
        for branch in ("anyOf", "oneOf"):
            for child in node.get(branch, []):
                yield from walk(child, path)
        for name, child in node.get("properties", {}).items():
            yield from walk(child, (*path, name))
        for inside in ("items", "additionalProperties"):
            if isinstance(node.get(inside), dict):
                yield from walk(node[inside], (*path, "*"))

    return set(walk(schema, path))


def test_every_path_of_the_model_counts_from_its_file():
    # launch.model is a path or a known name, so the schema cannot tell
    assert _paths_in(EndpointConfig) | {("launch", "model"), ("pack",)} == PATH_KEYS


def test_relative_paths_count_from_the_file_that_holds_them(folder, smallest, monkeypatch):
    for name in ("one", "two"):
        (folder / name).mkdir()
    (folder / "one" / "common.yaml").write_text("suite_folders: [tasks, /abs, ../up]\ntls: {ca_file: ca.pem}\n")
    text = "extends: ../one/common.yaml\n" + smallest + "data: {mmlu: rows}\nruns: ~/runs\n"
    (folder / "two" / "ref.yaml").write_text(text)
    monkeypatch.setenv("HOME", "/home/someone")
    config = load_config("two/ref.yaml")
    assert config.suite_folders == (Path("one/tasks"), Path("/abs"), Path("up"))
    assert config.tls.ca_file == Path("one/ca.pem")
    assert config.data == {"mmlu": Path("two/rows")}
    assert config.runs == Path("/home/someone/runs")


def test_a_known_model_is_no_path_but_a_weights_file_is(folder):
    (folder / "sub").mkdir()
    for model, expected in (("smollm2", "smollm2"), ("w.gguf", "sub/w.gguf")):
        (folder / "sub" / "a.yaml").write_text(f"name: a\nmodel: m\nlaunch: {{kind: llama_cpp, model: {model}}}\n")
        assert load_config("sub/a.yaml").launch.model == expected


# ---------------------------------------------------------------- variables and places


def test_variables_fill_text_and_numbers(load, smallest, monkeypatch):
    monkeypatch.setenv("CONCURRENCY", "7")
    monkeypatch.setenv("BUILD", "0123")
    text = "limits:\n  concurrency: ${CONCURRENCY}\nbuild: ${BUILD}\nstream: ${STREAM:-true}\n"
    config = load(smallest + text)
    assert (config.limits.concurrency, config.build, config.stream) == (7, "0123", True)


def test_all_unset_variables_are_told_at_once(problem, smallest, monkeypatch):
    monkeypatch.delenv("NOPE", raising=False)
    lines = problem(smallest + "build: ${NOPE}\nheaders:\n  A: Bearer ${NOPE}\n").splitlines()
    assert [line.split(":")[1] for line in lines] == ["4", "6"]


def test_places_are_kept_for_later_messages(folder, load, smallest, monkeypatch):
    (folder / "common.yaml").write_text("\nlimits:\n  retries: 1\napi_key_env: ABSENT_KEY\n")
    config = load("extends: common.yaml\n" + smallest + "suites:\n  - mmlu\n", "limits.concurrency=3")
    assert config.where("name") == "ref.yaml:2"
    assert config.where("limits.retries") == "common.yaml:3"
    assert config.where("limits.concurrency") == "--set limits.concurrency"
    assert config.where("suites.0") == "ref.yaml:6"
    assert config.where("suites.0.name") == "ref.yaml:6"  # nearest
    assert config.where("tls.verify") == ""
    assert (config.says("limits.retries"), config.says("limits.stall_seconds")) == (True, False)
    monkeypatch.delenv("ABSENT_KEY", raising=False)
    with pytest.raises(ConfigError, match=r"^common\.yaml:4: the environment variable ABSENT_KEY"):
        config.api_key()


def test_where_a_key_stands_says_nothing_of_what_it_says(load, smallest):
    assert load(smallest) == load("# moved down\n\n" + smallest)
    assert load(smallest) != load(smallest, "limits.retries=1")


def test_importing_the_configuration_imports_nothing_heavy():
    import subprocess
    import sys

    def loaded(program):
        told = f"import sys{program}; print(*{{name.partition('.')[0] for name in sys.modules}})"
        return {
            *subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True).stdout.split()
        }

    # What a distribution's Python loads by itself (sitecustomize, editable finders) is none of ours.
    outside = {name for name in loaded(", evalkit.config") - loaded("") if not name.startswith("_")}
    assert outside - {*sys.stdlib_module_names} <= {
        "annotated_types",
        "cython_runtime",
        "evalkit",
        "pydantic",
        "pydantic_core",
        "typing_extensions",
        "typing_inspection",
        "yaml",
    }
