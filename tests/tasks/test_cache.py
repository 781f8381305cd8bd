"""What was built once is read back as it was, and built again as soon as anything differs that items follow from."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from evalkit.config.suite import parse_suite
from evalkit.errors import DataError
from evalkit.tasks import cache
from evalkit.tasks.items import LoadOptions, load_suite

SUITE = """
task: toy
custom_dataset: !function evalkit.tasks.data.load
test_split: test
output_type: generate_until
doc_to_text: "{{question}}\\n{{options}}"
doc_to_target: "{{answer}}"
process_results: !function evalkit.scoring.hooks.choice
generation_kwargs: {until: ["\\n\\n"], max_gen_toks: 64, do_sample: false, temperature: 0.0}
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
metadata:
  version: 1.0
  evalkit:
    label: Toy
    scorer: choice
    strata: [topic]
    settings: {a: "a number"}
    source: {file: toy.jsonl}
"""


def rows(count=6, word="which"):
    return [
        {
            "id": f"q{n}",
            "question": f"{word} of {n}?",
            "choices": ["one", "two"],
            "options": "A) one\nB) two",
            "answer": "AB"[n % 2],
            "topic": "x",
        }
        for n in range(count)
    ]


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("EVALKIT_CACHE", str(folder))
    return folder / "suites"


@pytest.fixture
def suite_file(tmp_path):
    file = tmp_path / "suites" / "toy.yaml"
    file.parent.mkdir()
    file.write_text(SUITE)
    write_rows(tmp_path, rows())
    return file


def write_rows(tmp_path, documents):
    (tmp_path / "suites" / "toy.jsonl").write_text("".join(json.dumps(row) + "\n" for row in documents))


def load(file, **options):
    return load_suite(parse_suite(file, "test"), LoadOptions(**options))


def entries(folder):
    return sorted(path.name for path in folder.glob("*")) if folder.is_dir() else []


def same(one, other):
    fields = ("items", "stop", "data_digest", "prompt_digest", "total_items", "notes", "scorer_id", "max_tokens")
    return all(getattr(one, field) == getattr(other, field) for field in fields)


def test_what_is_read_back_is_what_was_built(suite_file, empty_cache, monkeypatch):
    first = load(suite_file)
    assert len(entries(empty_cache)) == 1
    monkeypatch.setattr("evalkit.tasks.items._built", None)  # a second build would fail
    second = load(suite_file)
    assert same(first, second)
    assert [item.prompt.messages[0]["content"] for item in second.items][1] == "which of 1?\nA) one\nB) two"
    assert second.score is first.score


def test_a_second_run_imports_no_lm_eval(suite_file, empty_cache):
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from evalkit.tasks.items import LoadOptions, load_suite\n"
        "from evalkit.config.suite import parse_suite\n"
        f"loaded = load_suite(parse_suite(Path({str(suite_file)!r}), 'test'), LoadOptions())\n"
        "print(len(loaded.items), sorted({'lm_eval', 'datasets', 'jinja2', 'pandas'} & set(sys.modules)))\n"
    )
    said = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split(" ", 1)
        for _ in range(2)
    ]
    assert "lm_eval" in said[0][1]
    assert said[1] == ["6", "[]\n"]


@pytest.mark.parametrize(
    "change",
    [
        lambda file: write_rows(file.parent.parent, rows(word="WHICH")),
        lambda file: file.write_text(SUITE.replace("{{question}}", "Q: {{question}}")),
        lambda file: file.write_text(SUITE.replace("strata: [topic]", "strata: []")),
    ],
    ids=["a row of the data", "the template", "what evalkit reads"],
)
def test_a_change_of_the_files_is_seen_even_with_the_same_size_and_time(suite_file, empty_cache, change):
    first = load(suite_file)
    files = [suite_file, suite_file.with_suffix(".jsonl")]
    times = {file: file.stat().st_mtime_ns for file in files}
    change(suite_file)
    for file, at in times.items():
        os.utime(file, ns=(at, at))
    second = load(suite_file)
    assert not same(first, second)
    assert len(entries(empty_cache)) == 2


def test_an_included_file_counts(suite_file, empty_cache):
    child = suite_file.with_name("child.yaml")
    child.write_text("include: toy.yaml\ntask: child\n")
    first = load(child)
    suite_file.write_text(SUITE.replace("{{question}}", "Q: {{question}}"))
    assert load(child).prompt_digest != first.prompt_digest


@pytest.mark.parametrize("options", [{"limit": 2}, {"settings": {"a": 1}}, {"partial": True}], ids=str)
def test_options_have_entries_of_their_own(suite_file, empty_cache, options):
    load(suite_file)
    limited = load(suite_file, **options)
    assert len(entries(empty_cache)) == 2
    assert len(limited.items) == options.get("limit", 6)
    assert same(load(suite_file, **options), limited)


def test_another_version_of_anything_that_builds_is_another_entry(suite_file, empty_cache, monkeypatch):
    load(suite_file)
    for name, value in (("_versions", lambda: ["another"]), ("_code", lambda: "another")):
        before = len(entries(empty_cache))
        monkeypatch.setattr(cache, name, value)
        load(suite_file)
        assert len(entries(empty_cache)) == before + 1


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b.replace(b"which of 3", b"which of 4"), lambda b: b""]
)
def test_a_damaged_entry_is_built_again(suite_file, empty_cache, damage):
    first = load(suite_file)
    (entry,) = empty_cache.iterdir()
    whole = entry.read_bytes()
    entry.write_bytes(damage(whole))
    assert same(load(suite_file), first)
    assert entry.read_bytes() == whole


def test_functions_of_the_users_own_are_run_each_time(suite_file, empty_cache):
    (suite_file.parent / "mine.py").write_text("def text(doc):\n    return 'Please: ' + doc['question']\n")
    suite_file.write_text(SUITE.replace('"{{question}}\\n{{options}}"', "!function mine.text"))
    assert load(suite_file).items[0].prompt.messages[0]["content"].startswith("Please")
    assert entries(empty_cache) == []


def test_documents_that_json_would_change_are_not_kept(empty_cache, suite_file):
    built = load(suite_file)
    kept = cache.Built(built.items, built.stop, built.data_digest, built.prompt_digest, built.total_items, ())
    cache.write("toy", "0" * 32, kept)
    assert cache.read("toy", "0" * 32) == kept
    first = kept.items[0]
    for document in ({**first.doc, "pair": (1, 2)}, {**first.doc, "odd": {1: 2}}, {**first.doc, "set": {1}}):
        odd = type(first)(**{name: getattr(first, name) for name in first.__slots__} | {"doc": document})
        cache.write("toy", "1" * 32, cache.Built((odd,), (), "", "", 1, ()))
        assert cache.read("toy", "1" * 32) is None


def test_absent_data_is_said_by_the_loader(suite_file, empty_cache):
    load(suite_file)
    suite_file.with_suffix(".jsonl").unlink()
    with pytest.raises(DataError, match=r"toy\.jsonl lies neither"):
        load(suite_file)


def test_a_folder_that_cannot_be_written_costs_nothing_but_time(suite_file, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "file"))
    assert len(load(suite_file).items) == 6


def test_what_is_long_unused_is_removed(suite_file, empty_cache):
    load(suite_file, limit=1)
    load(suite_file, limit=2)
    old, kept = sorted(empty_cache.iterdir(), key=lambda path: path.stat().st_size)
    os.utime(old, (1, 1))
    load(suite_file)
    assert not old.exists()
    assert kept.exists()


def test_the_room_that_is_taken_is_bounded_and_what_is_used_stays(suite_file, empty_cache, monkeypatch):
    load(suite_file, limit=1)
    load(suite_file, limit=2)
    one, two = sorted(empty_cache.iterdir(), key=lambda path: path.stat().st_size)
    os.utime(one, (1e9, 1e9))
    load(suite_file, limit=1)  # used: its time is now
    monkeypatch.setattr(cache, "KEPT_SECONDS", 1e12)
    monkeypatch.setattr(cache, "KEPT_BYTES", 0)
    os.utime(two, (1e9, 1e9))
    load(suite_file, limit=3)
    assert not one.exists()
    assert not two.exists()
    assert len(entries(empty_cache)) == 1, "the newest stays, whatever its size"


def test_entries_are_for_their_owner_only(suite_file, empty_cache):
    load(suite_file)
    (entry,) = empty_cache.iterdir()
    assert entry.stat().st_mode & 0o077 == 0


def test_the_names_of_suites_make_file_names(tmp_path):
    assert cache._path("../../etc/pass wd", "k" * 64).parent == Path(os.environ["EVALKIT_CACHE"]) / "suites"
