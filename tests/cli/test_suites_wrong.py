"""Whatever is wrong with a suite, its scorer or its preparer: a sentence before any request, or that item's grade error.

Never a defect of evalkit's (70), never another item or suite lost with it.
"""

import json
import re

import pytest

KEYS = {
    "label": "Quiz",
    "scorer": "mine:score",
    "prepare": "mine:prepare",
    "margin_pt": "5",
    "source": "{file: quiz.jsonl}",
}
HEAD = """\
task: quiz
custom_dataset: !function evalkit.tasks.data.load
test_split: test
output_type: generate_until
doc_to_text: "{{prompt}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: [], max_gen_toks: 64, do_sample: false, temperature: 0.0}
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
metadata:
  version: 1.0
  evalkit:
"""
CODE = """\
from evalkit.model import Score, Status


def prepare(rows, options):
    return [dict(row) for row in rows]


def score(document, final):
    if document["id"] == "q3":
        pass
    return Score(1.0, Status.SCORED, "right", answer=final.text)
"""
ROWS = [
    {"id": f"q{n}", "prompt": f"item {n}", "answer": "A", "topic": "xy"[n % 2], "share": n, "words": ["a"], "empty": 0}
    for n in range(6)
]


def written(folder, keys, code=CODE, rows=ROWS, head=HEAD):
    """The suite's file; keys that are None are left out."""
    folder.mkdir(exist_ok=True)
    lines = [f"    {key}: {value}\n" for key, value in (KEYS | keys).items() if value is not None]
    (folder / "quiz.yaml").write_text(head + "".join(lines))
    (folder / "mine.py").write_text(code)
    (folder / "quiz.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "quiz.yaml"


def line_of(file, word):
    return next(n for n, line in enumerate(file.read_text().splitlines(), 1) if line.strip().startswith(word))


def prepared(body):
    return CODE.replace("    return [dict(row) for row in rows]\n", f"    {body}\n")


def scored(body):
    return CODE.replace("        pass\n", f"        {body}\n")


# Keys of the suite that are wrong: (keys, the key that is named, words of the sentence).
WRONG_KEYS = [
    ({"margin_pt": "-5"}, "margin_pt", "must be at least 0.1, not -5"),
    ({"margin_pt": "101"}, "margin_pt", "must be at most 100, not 101"),
    ({"margin_pt": ".nan"}, "margin_pt", "must be a finite number"),
    ({"margin_pt": "yes"}, "margin_pt", "must be a number"),
    ({"chance": "a quarter"}, "chance", "must be a number, not 'a quarter'"),
    ({"chance": "1.5"}, "chance", "must be less than 1"),
    ({"max_tokens": "many"}, "max_tokens", "must be an integer, not 'many'"),
    ({"max_tokens": "0"}, "max_tokens", "must be at least 1"),
    ({"rows": "-3"}, "rows", "must be at least 1"),
    ({"repeats": "1.5"}, "repeats", "must be an integer"),
    ({"needs": "[code_executon]"}, "needs", "did you mean 'code_execution'?"),
    ({"needs": "code_execution"}, "needs", "must be a list"),
    ({"needs": "[judge]"}, "needs", "scorer judge and needs [judge] go together"),
    ({"scorer": "option_logprobs"}, "scorer", "needs [prompt_logprobs] go together"),
    ({"order": "longest"}, "order", "did you mean 'longest_first'?"),
    ({"headline": "mean"}, "headline", "must be 'micro', 'macro' or 'nested'"),
    ({"headline": "macro"}, "headline", "needs strata"),
    ({"margn_pt": "5"}, "margn_pt", "unknown key 'margn_pt' in metadata.evalkit: did you mean 'margin_pt'?"),
    ({"tags": "[topic]"}, "tags", "must be a mapping"),
    ({"strata": "{topic: 1}"}, "strata", "must be a list"),
    ({"gated": "perhaps"}, "gated", "must be true or false"),
    ({"right_or_wrong": "3"}, "right_or_wrong", "must be true or false"),
    ({"settings": "[release]"}, "settings", "must be a mapping"),
    ({"options": "7"}, "options", "must be a mapping"),
    ({"source": "quiz.jsonl"}, "source", "must be a mapping"),
    ({"source": "{hub: a/b}"}, "source", "hub needs a revision"),
    ({"source": "{file: quiz.jsonl, hub: a/b, revision: c}"}, "source", "hub and file exclude each other"),
    ({"source": "{fil: quiz.jsonl}"}, "source", "unknown key 'fil' in metadata.evalkit.source: did you mean 'file'?"),
    ({"source": "{file: quiz.jsonl, splits: {tset: a}}"}, "source", "splits has no 'test'"),
    ({"source": "{file: quiz.jsonl, splits: {test: [{splt: a}]}}"}, "source", "unknown key 'splt'"),
    ({"source": "{file: quiz.jsonl, splits: 4}"}, "source", "must be a mapping"),
    ({"source": "{file: quiz.jsonl, shots: {split: test, by: topic}}"}, "source", "source.shots.count is missing"),
    ({"source": "{}"}, "source", "metadata.evalkit.source: has no place on a hub"),
    ({"source": "{file: quizz.jsonl}"}, "source", "metadata.evalkit.source.file: quizz.jsonl lies neither beside"),
    ({"source": "{file: quiz.jsonl, shots: {split: dev, by: topic, count: 2}}"}, "source", "shots.split is 'dev'"),
    ({"prepare": "prepare"}, "prepare", "must be module:function"),
    ({"prepare": "mine:preparee"}, "prepare", "no function 'preparee': did you mean 'prepare'?"),
    ({"prepare": "nobody_has_this:prepare"}, "prepare", "has no nobody_has_this.py"),
    ({"scorer": "choise"}, "scorer", "there is no scorer 'choise': did you mean 'choice'?"),
    ({"scorer": "nobody_has_this:score"}, "scorer", "has no nobody_has_this.py"),
    ({"scorer": "mine:scor"}, "scorer", "no function 'scor': did you mean 'score'?"),
    ({"scorer": "mine:LIMIT"}, "scorer", "is no function but int"),
    ({"scorer": "math:sqrt"}, "scorer", "add `VERSION = 1`"),
    ({"strata": "[topik]"}, "strata", "has no field 'topik': did you mean 'topic'?"),
    ({"cluster": "zzz"}, "cluster", "has no field 'zzz': there are answer, empty, id, prompt, share, topic, words"),
    ({"tags": "{kind: zzz}"}, "tags", "has no field 'zzz'"),
    ({"weight": "topic"}, "weight", "must be a number of at least 0"),
    ({"weight": "words"}, "weight", "must be a number of at least 0"),
    ({"weight": "empty"}, "weight", "nothing would count"),
    ({"weight": "sahre"}, "weight", "did you mean 'share'?"),
    ({"part_of": "other", "label": "x"}, "label", "has no effect in a part"),
]


def names(keys):
    return ", ".join(f"{key}: {value}" for key, value in keys.items())


@pytest.mark.parametrize(("keys", "key", "words"), WRONG_KEYS, ids=[names(row[0]) for row in WRONG_KEYS])
def test_a_wrong_key_is_said_with_its_place_before_anything_is_asked(
    keys, key, words, endpoint, config, invoke, tmp_path
):
    file = written(tmp_path / "own", keys, code=CODE + "\n\nLIMIT = 3\n")
    done = invoke("run", config("ref", endpoint.url, ["quiz"], suite_folders=[str(file.parent)]), "--quiet")
    assert (done.code, endpoint.requests) == (2, []), done.err
    assert f"{file}:{line_of(file, key)}" in done.err
    assert words in done.err
    checked = invoke("suites", "check", file)
    assert checked.code == 2
    assert words in checked.err


NEGATIVE = [{**row, "share": -1} for row in ROWS]

# What only code and data can do wrong before a run: (code, rows, words).
WRONG_CODE = [
    (prepared("return rows[0]['nothing']"), ROWS, ["mine:prepare raised KeyError: 'nothing'", "mine.py:5"]),
    (prepared("raise ValueError('odd row')"), ROWS, ["mine:prepare raised ValueError: odd row", "mine.py:5"]),
    (prepared("raise SystemExit(3)"), ROWS, ["mine:prepare raised SystemExit: 3"]),
    (prepared("return None"), ROWS, ["mine:prepare gave NoneType: a preparer gives a list of documents"]),
    (prepared("return ['a']"), ROWS, ["gave str as document 0: it must be a mapping"]),
    (prepared("return [{'prompt': 'x'}]"), ROWS, ["document 0 without an 'id'"]),
    (prepared("return []"), ROWS, ["has no rows"]),
    (prepared("return [dict(rows[0]), dict(rows[0])]"), ROWS, ["the id 'q0' stands twice"]),
    ("import no_such_package_anywhere\n", ROWS, ["cannot be imported", "No module named", "mine.py:1"]),
    ("def score(:\n", ROWS, ["cannot be imported", "SyntaxError", "mine.py:1"]),
    (CODE + "\n1 / 0\n", ROWS, ["cannot be imported", "ZeroDivisionError", "mine.py:13"]),
]


@pytest.mark.parametrize(("code", "rows", "words"), WRONG_CODE, ids=[row[2][0][:60] for row in WRONG_CODE])
def test_wrong_code_is_said_before_anything_is_asked(code, rows, words, endpoint, config, invoke, tmp_path):
    file = written(tmp_path / "own", {}, code=code, rows=rows)
    done = invoke("run", config("ref", endpoint.url, ["quiz"], suite_folders=[str(file.parent)]), "--quiet")
    assert (done.code, endpoint.requests) == (2, []), done.err
    assert all(word in done.err for word in words), done.err


@pytest.mark.parametrize(
    ("line", "instead", "words"),
    [
        ('doc_to_text: "{{prompt}}"', 'doc_to_text: "{{promt}}"', "quiz.yaml:5: doc_to_text: .*'promt' is undefined"),
        ('doc_to_target: "{{answer}}"', 'doc_to_target: "{{x}}"', "quiz.yaml:6: doc_to_target: .*'x' is undefined"),
        ('doc_to_text: "{{prompt}}"', 'doc_to_text: "{{prompt}"', "quiz.yaml:5: doc_to_text: TemplateSyntaxError"),
        ('doc_to_text: "{{prompt}}"', "doc_to_text: !function mine.broken", r"quiz.*ZeroDivisionError.*mine\.py:\d+"),
        ('doc_to_text: "{{prompt}}"', 'doc_to_txt: "{{prompt}}"', "quiz.yaml:1: doc_to_text is missing"),
        ("test_split: test", "test_split: tset", "quiz.yaml:3: test_split: .* has no 'tset'"),
        ("test_split: test", "test_split: test\nfew_shot_split: x", "quiz.yaml:4: unknown key .*mean 'fewshot_split'"),
        (
            "tasks.data.load",
            "tasks.data.laod",
            "quiz.yaml:2: custom_dataset: there is no function evalkit.tasks.data.la",
        ),
        ("  evalkit:", "  evlkit:", "quiz.yaml:2: metadata.evalkit is missing"),
        ("max_gen_toks: 64", "max_gen_tokens: 64", "quiz.yaml:7: generation_kwargs: nothing reads max_gen_tokens"),
        ("task: quiz", "task: riddles", "called 'quiz': .*quiz.yaml says `task: riddles`"),
        ("task: quiz", "# quiz", "called 'quiz': .*quiz.yaml has no `task:`"),
    ],
)
def test_what_lm_eval_cannot_load_is_said_with_its_place(line, instead, words, endpoint, config, invoke, tmp_path):
    code = CODE + "\n\ndef broken(document):\n    return 1 / 0\n"
    file = written(tmp_path / "own", {}, code=code, head=HEAD.replace(line, instead))
    done = invoke("run", config("ref", endpoint.url, ["quiz"], suite_folders=[str(file.parent)]), "--quiet")
    assert (done.code, endpoint.requests) == (2, []), done.err
    assert re.search(words, done.err), done.err
    assert "NoneType" not in done.out


def test_a_negative_weight_is_said(endpoint, config, invoke, tmp_path):
    file = written(tmp_path / "own", {"weight": "share"}, rows=NEGATIVE)
    done = invoke("run", config("ref", endpoint.url, ["quiz"], suite_folders=[str(file.parent)]), "--quiet")
    assert (done.code, endpoint.requests) == (2, [])
    assert "item 'q0' has '-1' in the field 'share': it must be a number of at least 0" in done.err


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"relese": "x"}, "suites.0.settings.relese: quiz has no such setting: did you mean 'release'?"),
        ({"zzz": 1}, "suites.0.settings.zzz: quiz has no such setting: there are release"),
    ],
)
def test_a_setting_that_the_suite_does_not_know_is_refused(settings, words, endpoint, config, invoke, tmp_path):
    file = written(tmp_path / "own", {"settings": "{release: which questions}"})
    suite = {"name": "quiz", "settings": settings}
    done = invoke("run", config("ref", endpoint.url, [suite], suite_folders=[str(file.parent)]), "--quiet")
    assert (done.code, endpoint.requests) == (2, [])
    assert words in done.err


# What a scorer may do wrong on one item: (body, words of the reason).
WRONG_SCORES = [
    ("document['nothing']", "raised KeyError: 'nothing'"),
    ("raise SystemExit(1)", "raised SystemExit: 1"),
    ("raise RecursionError('deep')", "raised RecursionError: deep"),
    ("raise ValueError('\\x1b[2Jbad\\nline')", "raised ValueError: \\x1b[2Jbad"),
    ("return None", "gave None: a scorer gives an evalkit.model.Score"),
    ("return 1.0", "gave 1.0: a scorer gives"),
    ("return Score(2.0, Status.SCORED)", "gave the value 2.0: it must be a number from 0 to 1"),
    ("return Score(-0.5, Status.SCORED)", "gave the value -0.5: it must be"),
    ("return Score(float('nan'), Status.SCORED)", "gave the value nan: it must be"),
    ("return Score('1', Status.SCORED)", "gave the value '1': it must be"),
    ("return Score(True, Status.SCORED)", "gave the value True: it must be"),
    ("return Score(None, Status.SCORED)", "gave the value None with the status scored"),
    ("return Score(1.0, Status.GRADE_ERROR)", "gave the value 1.0 with the status grade_error"),
    ("return Score(1.0, 'scored')", "gave the status 'scored'"),
    ("return Score(1.0, Status.SCORED, reason=7)", "gave a reason, answer or flag that is no text"),
    ("return Score(1.0, Status.SCORED, flags=None)", "gave a reason, answer or flag that is no text"),
    ("return Score(1.0, Status.SCORED, metrics={'a': 'b'})", "gave metrics that are no numbers"),
    ("return Score(1.0, Status.SCORED, lenient=3)", "gave the lenient 3"),
    ("return Score(0.5, Status.SCORED)", "gave the value 0.5, where the suite says right_or_wrong"),
]


@pytest.mark.parametrize(("body", "words"), WRONG_SCORES, ids=[row[0] for row in WRONG_SCORES])
def test_a_wrong_score_costs_its_item_and_is_named(body, words, endpoint, config, invoke, tmp_path):
    file = written(tmp_path / "own", {"right_or_wrong": "true"}, code=scored(body))
    path = config("ref", endpoint.url, ["quiz", "demo"], suite_folders=[str(file.parent)], data=None)
    done = invoke("run", path, "--quiet", "--json", "--limit", "6")
    assert done.code == 3, done.err
    quiz, demo = json.loads(done.out)["suites"]
    assert (quiz["valued"], quiz["planned"], quiz["mean"]) == (5, 6, 1.0)
    assert demo["valued"] == 6, "another suite is graded all the same"
    (lost,) = quiz["without_value"]
    assert (lost["item"], lost["status"]) == ("q3", "grade_error")
    assert lost["error"].startswith("quiz, item q3: scorer mine:score ")
    assert words in lost["error"]
    assert lost["error"].isprintable()
    if "raised" in words:
        assert lost["error"].endswith("mine.py:10)")


def test_a_scorer_that_is_mended_grades_again_and_asks_nothing(endpoint, config, invoke, tmp_path):
    file = written(tmp_path / "own", {}, code=scored("return document['nothing']"))
    path = config("ref", endpoint.url, ["quiz"], suite_folders=[str(file.parent)])
    first = invoke("run", path, "--quiet")
    assert first.code == 3
    assert "1 of quiz could not be graded: `evalkit score` tries them again" in first.out
    assert "q3: grade error (quiz, item q3: scorer mine:score raised KeyError: 'nothing'" in first.out
    asked = len(endpoint.requests)
    assert invoke("score", path).code == 3, "it still raises"
    written(tmp_path / "own", {})
    again = invoke("score", path)
    assert (again.code, len(endpoint.requests)) == (0, asked), again.err
    assert "1.0000 over 6 of 6" in again.out


def test_a_pack_is_checked_as_an_endpoint_is(endpoint, config, invoke, tmp_path):
    file = written(tmp_path / "own", {})
    (tmp_path / "own" / "packs").mkdir()
    pack = tmp_path / "own" / "packs" / "night.yaml"
    pack.write_text("about: a night\nsuites:\n  - {name: quiz, margn_pt: 3}\n  - {name: quiz, repeats: none}\n")
    path = config("ref", endpoint.url, [], suite_folders=[str(file.parent)], pack="night")
    done = invoke("run", path, "--quiet")
    assert (done.code, endpoint.requests) == (2, [])
    assert f"{pack}:3: unknown key 'margn_pt' in suites.0: did you mean 'margin_pt'?" in done.err
    assert f"{pack}:4: suites.1.repeats: must be an integer" in done.err


def test_a_broken_suite_in_the_folder_is_no_matter_of_another(endpoint, config, invoke, tmp_path):
    file = written(tmp_path / "own", {})
    (file.parent / "broken.yaml").write_text("task: [\n")
    path = config("ref", endpoint.url, ["quiz"], suite_folders=[str(file.parent)])
    assert invoke("run", path, "--quiet").code == 0
    checked = invoke("suites", "check", file.parent)
    assert checked.code == 2
    assert f"{file.parent / 'broken.yaml'}:2: not YAML" in checked.err
    assert "quiz: sound" in checked.out


GROUP = "group: both\ntask: [quiz]\nmetadata: {evalkit: {scorer: short, label: Both}}\n"


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"part_of": "both", "margin_pt": None, "label": None, "prepare": "mine:nothing"}, "no function 'nothing'"),
        ({"part_of": "both", "margin_pt": None, "label": None, "order": "as_stored"}, "order has no effect in a part"),
        ({"part_of": "both", "margin_pt": None, "label": None, "needs": "[x]"}, "metadata.evalkit.needs.0: must be"),
    ],
)
def test_a_wrong_part_of_a_group_is_said_with_its_own_file(keys, says, endpoint, config, invoke, tmp_path):
    file = written(tmp_path / "own", keys)
    (file.parent / "both.yaml").write_text(GROUP)
    done = invoke("run", config("ref", endpoint.url, ["both"], suite_folders=[str(file.parent)]), "--quiet")
    assert (done.code, endpoint.requests) == (2, [])
    assert says in done.err
    assert f"{file}:{line_of(file, list(keys)[-1])}" in done.err


def test_a_group_whose_task_has_no_file_names_those_that_have(endpoint, config, invoke, tmp_path):
    file = written(tmp_path / "own", {"part_of": "both", "margin_pt": None, "label": None})
    (file.parent / "both.yaml").write_text(GROUP.replace("[quiz]", "[quizz]"))
    done = invoke("run", config("ref", endpoint.url, ["both"], suite_folders=[str(file.parent)]), "--quiet")
    assert (done.code, endpoint.requests) == (2, [])
    assert "'quizz' has no file" in done.err
    assert "did you mean 'quiz'?" in done.err


def test_two_suites_of_one_name_are_said(invoke, tmp_path):
    file = written(tmp_path / "own", {})
    (file.parent / "again.yaml").write_text(file.read_text())
    done = invoke("suites", "check", file.parent)
    assert done.code == 2
    assert "the suite quiz is in" in done.err


def test_shipped_suites_are_sound_where_their_data_is(invoke, invented):
    from evalkit.resources import data_folder

    names = ("gpqa_pooled", "aime24", "musr", "mmlu_gen_5shot_lite", "mmlu_logprob_lite", "demo/demo", "packs/nightly")
    files = [data_folder("suites") / f"{name}.yaml" for name in names]
    done = invoke("suites", "check", *files, "--data", invented)
    assert done.code == 0, done.err
    assert done.out.count(": sound") == len(names)
    assert done.out.count(": 1 (right)") == 5, "a log-likelihood suite has no reply to try, a pack none at all"
    assert done.out.count(": 0 (empty)") == 5


def test_an_endpoints_file_beside_the_suites_is_none_of_them(invoke, tmp_path):
    folder = written(tmp_path / "own", {}).parent
    (folder / "reference.yaml").write_text("name: ref\nbase_url: http://127.0.0.1:1/v1\nmodel: m\n")
    done = invoke("suites", "check", folder)
    assert done.code == 0, done.err
    assert "reference.yaml" not in done.out


def test_a_list_beside_the_suites_that_names_one_is_no_matter(endpoint, config, invoke, tmp_path):
    folder = written(tmp_path / "own", {}).parent
    (folder / "known-differences.yaml").write_text("- suite: quiz\n  reason: known\n")
    done = invoke("run", config("ref", endpoint.url, ["quiz"], suite_folders=[str(folder)]), "--quiet")
    assert done.code == 0, done.err


def test_another_number_of_rows_than_the_file_beside_it_has_is_said(invoke, tmp_path):
    file = written(tmp_path / "own", {"rows": "7"})
    done = invoke("suites", "check", file)
    assert done.code == 2
    assert f"{file}:{line_of(file, 'rows')}: metadata.evalkit.rows: is 7, the data set has 6 items here" in done.err


def test_a_scorer_that_fails_on_one_form_of_the_answer_is_said(invoke, tmp_path):
    twice = CODE.replace("Score(1.0", "Score(2.0 if final.text == 'A' else 1.0")
    done = invoke("suites", "check", written(tmp_path / "own", {}, code=twice))
    assert done.code == 2
    assert "right reply 'A': mine:score gave the value 2.0" in done.err


def test_what_would_steer_a_terminal_is_escaped(invoke, tmp_path):
    rows = [{**row, "prompt": "\x1b]0;owned\x07 \u202e and\na line"} for row in ROWS]
    done = invoke("suites", "check", written(tmp_path / "own", {}, rows=rows))
    assert done.code == 0, done.err
    assert "\\x1b]0;owned\\x07 \\u202e and\na line" in done.out
    assert not {"\x1b", "\x07", "\u202e"} & set(done.out)
