"""`model-index` in a README that has front matter: the rest stays byte for byte, and twice is once."""

from dataclasses import replace

import pytest
import yaml
from huggingface_hub import ModelCard

from evalkit.errors import UsageError
from evalkit.publish.hub import into_front_matter, model_index

README = """---
# what the hub shows
license: "apache-2.0"   # quoted, with a comment
tags: [flagos,   'text-generation']

base_model:
- acme/acme-7b
{index}# the last line is a comment too
pipeline_tag: text-generation
---
# Acme

---
model-index: not this one
"""
OTHERS = """model-index:
- name: Acme-7B   # the author's own
  extra: kept
  results:
  - task: {type: text-generation}
    dataset: {name: ARC, type: allenai/ai2_arc}
    metrics: [{type: acc, value: 51.2, name: accuracy}]
    odd: kept
"""


@pytest.fixture
def entry(comparison):
    return model_index(comparison, "Acme-FlagOS").entry


def without_index(text):
    """The lines that are not of the model-index."""
    lines, inside = [], False
    for line in text.splitlines(keepends=True):
        begins = line.startswith("model-index:") and "not this one" not in line
        inside = begins or (inside and line.startswith((" ", "- ")))
        if not inside:
            lines.append(line)
    return "".join(lines)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\N{ZERO WIDTH NO-BREAK SPACE}"])
@pytest.mark.parametrize("index", ["", OTHERS, "model-index: [{name: Acme-7B, results: []}]\n", "model-index:\n"])
def test_the_rest_stays_byte_for_byte_and_twice_is_once(entry, newline, mark, index):
    before = (mark + README.format(index=index)).replace("\n", newline).encode()
    after = into_front_matter(before, entry)
    assert into_front_matter(after, entry) == after
    assert without_index(after.decode()) == without_index(before.decode())
    assert (b"\r\n" in after) == (newline == "\r\n")
    assert after.replace(b"\r\n", b"").count(b"\n") == (0 if newline == "\r\n" else after.count(b"\n"))
    results = ModelCard(after.decode("utf-8-sig")).data.eval_results
    assert [one.metric_value for one in results if "evalkit" in one.metric_name] == [70.14, 67.34, 57.31, 41.2, 76.67]


def test_results_of_others_stay_and_the_one_model_keeps_its_name(entry):
    before = README.format(index=OTHERS).encode()
    after = into_front_matter(before, entry)
    data = yaml.safe_load(after.decode().split("---\n")[1])["model-index"]
    assert len(data) == 1
    assert (data[0]["name"], data[0]["extra"]) == ("Acme-7B", "kept")
    assert data[0]["results"][0] == yaml.safe_load(OTHERS)["model-index"][0]["results"][0]
    assert len(data[0]["results"]) == 6
    named = into_front_matter(before, entry, named=True)
    assert [one["name"] for one in yaml.safe_load(named.decode().split("---\n")[1])["model-index"]] == [
        "Acme-7B",
        "Acme-FlagOS",
    ]
    assert into_front_matter(named, entry, named=True) == named


def test_another_comparison_replaces_only_its_own_data_sets(comparison, entry):
    before = into_front_matter(README.format(index=OTHERS).encode(), entry)
    suite = replace(comparison.suites[0], candidate=replace(comparison.suites[0].candidate, mean=0.25))
    again = model_index(replace(comparison, suites=(suite,)), "Acme-FlagOS").entry
    results = ModelCard(into_front_matter(before, again).decode()).data.eval_results
    assert sorted(one.metric_value for one in results) == [25.0, 41.2, 51.2, 57.31, 67.34, 76.67]


def test_a_file_without_front_matter_gets_one(entry):
    for before in (b"", b"# Acme\n", b"# Acme\r\n\r\ntext"):
        after = into_front_matter(before, entry)
        assert after.endswith(before)
        assert after.startswith(b"---\r\nmodel-index:\r\n" if b"\r" in before else b"---\nmodel-index:\n")
        assert into_front_matter(after, entry) == after


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("rest", ["", "# Acme\n", "# Acme\n\n---\na rule above\n"])
def test_empty_front_matter_is_filled(entry, newline, rest):
    before = f"---\n---\n{rest}".replace("\n", newline).encode()
    after = into_front_matter(before, entry)
    assert after.startswith(f"---{newline}model-index:{newline}".encode())
    assert after.endswith(f"{newline}---{newline}{rest}".replace("\r\n", "\n").replace("\n", newline).encode())
    assert len(ModelCard(after.decode()).data.eval_results) == 5
    assert into_front_matter(after, entry) == after


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("---\nlicense: mit\n# Acme\n", 1),
        ("---\nlicense: mit\n --- \n", 1),
        ("\n\n---\nlicense: mit\n----\n# Acme\n", 3),
        ("---\n", 1),
        ("---", 1),
        ("\N{ZERO WIDTH NO-BREAK SPACE}---\na: 1\n", 1),
    ],
)
def test_front_matter_that_is_never_closed_is_a_mistake(entry, text, line, newline):
    with pytest.raises(UsageError) as caught:
        into_front_matter(text.replace("\n", newline).encode(), entry)
    assert str(caught.value) == (
        f"line {line}: the front matter that begins here is never closed: put a line --- below its last key"
    )


@pytest.mark.parametrize(
    ("front", "words"),
    [
        ("a: [1\n", "line 2: the front matter is not YAML"),
        ("a: 2026-13-01\n", "the front matter is not YAML"),
        ("- a\n", "not a YAML mapping"),
        ("{a: 1}\n", "not a YAML mapping"),
        ("model-index: 1\n", "is not a list of models"),
        ("model-index: []\n", "is not a list of models"),
        ("model-index: [{name: a, results: 3}]\n", "is not a list of models"),
        ("model-index: [{name: a}]\nmodel-index: [{name: b}]\n", "twice"),
        ("model-index: [{name: &n a, results: []}]\nb: *n\n", "edit it by hand"),
    ],
)
def test_what_cannot_be_edited_is_said(entry, front, words):
    with pytest.raises(UsageError, match=words):
        into_front_matter(f"---\n{front}---\n".encode(), entry)


def test_a_file_that_is_not_utf_8_is_said(entry):
    with pytest.raises(UsageError, match="not UTF-8"):
        into_front_matter(b"---\na: \xff\n---\n", entry)
