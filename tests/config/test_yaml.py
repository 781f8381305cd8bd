"""YAML reading: places of keys, the values that YAML is known to surprise with, and hostile documents."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.config.yaml import MAX_DEPTH, Node, Origin, merge, parse, parse_value
from evalkit.errors import ConfigError


def as_it_is(text, origin, key):
    return text


def plain(text):
    return parse(text, "f.yaml", as_it_is).plain()


def refusal(text):
    with pytest.raises(ConfigError) as caught:
        parse(text, "f.yaml", as_it_is)
    return str(caught.value)


def test_every_key_knows_its_line():
    tree = parse("a: 1\n\nb:\n  c: x\n  d:\n    - 1\n    - e: 2\n", "f.yaml", as_it_is)
    lines = {".".join(map(str, path)): node.origin.line for path, node in tree.walk() if path}
    assert lines == {"a": 1, "b": 3, "b.c": 4, "b.d": 5, "b.d.0": 6, "b.d.1": 7, "b.d.1.e": 7}
    assert str(tree.child("b").origin) == "f.yaml:3"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-7", -7),
        ("0", 0),
        ("010", "010"),
        ("0x1F", "0x1F"),
        ("12:30", "12:30"),
        ("1_000", "1_000"),
        ("9" * 30, "9" * 30),
        ("0.5", 0.5),
        (".5", 0.5),
        ("1.", 1.0),
        ("1e-3", 0.001),
        ("1.5E+3", 1500.0),
        (".inf", float("inf")),
        ("-.inf", float("-inf")),
        ("1.2.3", "1.2.3"),
        ("yes", True),
        ("Off", False),
        ("TRUE", True),
        ("y", "y"),
        ("null", None),
        ("~", None),
        ("", None),
        ("2026-01-31", "2026-01-31"),
        ("'1'", "1"),
        ('"yes"', "yes"),
        ("!!str 5", "5"),
        ("<<", "<<"),
        ("sha256:ab", "sha256:ab"),
    ],
)
def test_scalars_read_as_people_mean_them(text, value):
    if text == "<<":
        assert refusal(f"a: {text}")  # a merge key is no value
    else:
        assert plain(f"a: {text}") == {"a": value}


def test_nan_is_read():
    value = plain("a: .nan")["a"]
    assert value != value


@pytest.mark.parametrize("text", ["", "\n# only a comment\n", "---\n"])
def test_an_empty_document_is_an_empty_mapping_or_null(text):
    assert plain(text) in ({}, None)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(max_size=8), json_values, max_size=4))
def test_json_written_as_yaml_reads_back(value):
    assert plain(json.dumps(value)) == value


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_with_a_sentence(text):
    try:
        parse(text, "f.yaml", as_it_is)
    except ConfigError as error:
        assert str(error).startswith("f.yaml")


def test_merge_keys_bring_in_what_is_not_said():
    text = "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc:\n  <<: [*a, *b]\n  x: 9\nd:\n  <<: *b\n"
    assert plain(text)["c"] == {"x": 9, "y": 2, "z": 4}
    assert plain(text)["d"] == {"y": 3, "z": 4}
    assert "takes a mapping" in refusal("a: &a 5\nb:\n  <<: *a\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\n\tb: 2\n", "f.yaml:2: a tab cannot indent YAML: use spaces"),
        ("a:\n  b: 1\n  \tc: 2\n", "f.yaml:3: a tab cannot indent YAML: use spaces"),
        ("a:\t1\n", "f.yaml:1: a tab cannot stand between a key and its value: use spaces"),
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3: 'a' is given twice: the first time on line 1"),
        ("s:\n  t: 1\n  t: 1\n", "f.yaml:3: 's.t' is given twice: the first time on line 2"),
        ("? [x]\n: 1\n", "f.yaml:1: a key must be text, not a list or mapping"),
        (
            "a: !!python/name:os.system\n",
            "f.yaml:1: the tag 'tag:yaml.org,2002:python/name:os.system' is not allowed here",
        ),
        ("a: !!int many\n", "f.yaml:1: 'many' is not of the type that its tag says"),
        (
            "a: 1\n---\nb: 2\n",
            "f.yaml:2: not YAML: expected a single document in the stream, but found another document",
        ),
        ("a: *b\n", "f.yaml:1: not YAML: found undefined alias 'b'"),
        ('a: "\\ud800"\n', "f.yaml:1: holds half a character: a surrogate without its partner"),
        ("a: b\x07\n", "f.yaml:1: not YAML: the character at position 4 is not allowed"),
    ],
)
def test_mistakes_are_one_sentence_with_the_line(text, message):
    assert refusal(text) == message


def test_a_variable_inside_braces_is_told_to_want_quotes():
    assert refusal("h: {A: Bearer ${TOKEN}}\n").endswith("put quotes around ${...} inside {...} or [...]")


def test_several_mistakes_are_all_told():
    assert refusal("a: 1\na: 2\nb: !x 3\n").splitlines() == [
        "f.yaml:2: 'a' is given twice: the first time on line 1",
        "f.yaml:3: the tag '!x' is not allowed here",
    ]


def test_messages_are_bounded_however_wrong_the_document_is():
    lines = refusal("a:\n" * 1000).splitlines()
    assert (len(lines), lines[-1]) == (21, "... and 979 more")
    assert len(refusal("a: !" + "x" * 100_000)) < 1000


def test_deep_nesting_is_refused_before_the_stack_ends():
    assert f"nested more than {MAX_DEPTH} deep" in refusal("[" * 100_000)
    assert f"nested more than {MAX_DEPTH} deep" in refusal("\n".join(" " * i + "a:" for i in range(200)))


def test_aliases_cannot_multiply_without_bound():
    bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)
    )
    assert "aliases included" in refusal(bomb)


@pytest.mark.parametrize("text", ["a: &a [*a]\n", "a: &a {b: *a}\n", "a: &a\n  <<: *a\n"])
def test_an_alias_that_holds_itself_is_refused(text):
    assert "an alias that holds itself" in refusal(text)


def test_interpolated_text_stays_text_except_where_anything_may_stand():
    def seven(text, origin, key):
        return text.replace("$N", "7")

    text = "limits: $N\nsampling:\n  extra_body:\n    plain: $N\n    quoted: '$N'\n"
    assert parse(text, "f", seven).plain() == {
        "limits": "7",
        "sampling": {"extra_body": {"plain": 7, "quoted": "7"}},
    }


def test_an_overrides_value_has_the_override_as_its_place():
    value = parse_value("[1, {a: b}]", ("x",), "--set x", as_it_is)
    assert value.plain() == [1, {"a": "b"}]
    assert {str(node.origin) for _, node in value.walk()} == {"--set x"}
    assert parse_value("", ("x",), "--set x", as_it_is).value is None


# ---------------------------------------------------------------- merge


def tree_of(value):
    return parse(json.dumps(value), "f", as_it_is)


def test_mappings_merge_deeply_and_lists_replace():
    base = tree_of({"a": {"x": 1, "y": [1, 2]}, "b": 1})
    overlay = tree_of({"a": {"y": [3], "z": None}, "c": 2})
    assert merge(base, overlay).plain() == {"a": {"x": 1, "y": [3], "z": None}, "b": 1, "c": 2}


def test_a_merged_key_keeps_the_place_that_decided_it():
    base = Node({"a": Node(1, Origin("base", 1)), "b": Node(2, Origin("base", 2))}, Origin("base"))
    overlay = Node({"b": Node(3, Origin("top", 9))}, Origin("top"))
    merged = merge(base, overlay)
    assert (str(merged.child("a").origin), str(merged.child("b").origin)) == ("base:1", "top:9")


@given(st.dictionaries(st.text(max_size=3), json_values, max_size=4))
def test_merging_over_itself_or_over_nothing_changes_nothing(value):
    tree = tree_of(value)
    assert merge(tree, tree).plain() == value
    assert merge(tree_of({}), tree).plain() == value
    assert merge(tree, tree_of({})).plain() == value
