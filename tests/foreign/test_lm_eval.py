"""lm-eval's output folders: filters and metrics are named, items matched by doc_hash, results checked against samples."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from reasons import told

from evalkit.compare.judge import compare
from evalkit.compare.validity import Policy
from evalkit.errors import DataError, UsageError
from evalkit.foreign import Choices, Named
from evalkit.foreign.lm_eval import read_lm_eval
from evalkit.foreign.sources import read_pair
from evalkit.model import Status, Verdict
from evalkit.render.rows import part_text
from evalkit.render.words import say

DATE = "2026-03-04T05-06-07.890123"
QUESTIONS = [f"What is {number} plus one?" for number in range(40)]


def sample(number, score, *, name="none", metrics=None, question=None, resps=None, **more):
    """One line of a samples file, as lm-eval 0.4.13 writes it."""
    doc = {"question": question or QUESTIONS[number], "answer": str(number + 1)}
    text = "5" if score is None else f"It is {number + 1 if score else number}."
    metrics = metrics or {"exact_match": score}
    return {
        "doc_id": number,
        "doc": doc,
        "target": doc["answer"],
        "arguments": {"gen_args_0": {"arg_0": f"Q: {doc['question']}\nA:", "arg_1": {"until": ["\n"]}}},
        "resps": resps or [[text]],
        "filtered_resps": [text],
        "filter": name,
        "metrics": list(metrics),
        "doc_hash": hashlib.sha256(json.dumps(doc, indent=2).encode()).hexdigest(),
        "prompt_hash": hashlib.sha256(doc["question"].encode()).hexdigest(),
        "target_hash": hashlib.sha256(doc["answer"].encode()).hexdigest(),
        **metrics,
        **more,
    }


def results_of(tasks, *, temperature=0.0, groups=None, version=1.0, **more):
    """The results document for these tasks: {task: lines}."""
    document = {"results": {}, "configs": {}, "versions": {}, "n-shot": {}, "n-samples": {}, "group_subtasks": {}}
    for task, lines in tasks.items():
        document["results"][task] = {"alias": task}
        for name in {line["filter"] for line in lines}:
            chosen = [line for line in lines if line["filter"] == name]
            for metric in chosen[0]["metrics"]:
                values = np.ravel([line[metric] for line in chosen])
                document["results"][task][f"{metric},{name}"] = float(np.mean(values))
        document["configs"][task] = {
            "task": task,
            "output_type": "generate_until",
            "generation_kwargs": {"until": ["\n"], "do_sample": temperature > 0, "temperature": temperature},
            "metric_list": [{"metric": metric, "aggregation": "mean"} for metric in lines[0]["metrics"]],
        }
        document["versions"][task] = version
        document["n-shot"][task] = 0
        effective = len({line["doc_id"] for line in lines})
        document["n-samples"][task] = {"original": effective, "effective": effective}
    for group, (members, rule) in (groups or {}).items():
        means = [document["results"][task]["exact_match,none"] for task in members]
        weights = [len(tasks[task]) if rule == "micro" else 1 for task in members]
        number = {"alias": group, "exact_match,none": float(np.average(means, weights=weights))}
        document["results"][group] = number
        document["groups"] = {**document.get("groups", {}), group: number}
        document["group_subtasks"][group] = members
    config = {
        "model": "local-chat-completions",
        "model_args": "model=acme,api_key=hush",
        "gen_kwargs": {},
        "limit": None,
    }
    return {**document, "config": config, "lm_eval_version": "0.4.13", "model_name": "acme-7b", **more}


def write(folder, tasks, *, date=DATE, results=None, **more):
    home = Path(folder) / "acme-7b"
    home.mkdir(parents=True, exist_ok=True)
    (home / f"results_{date}.json").write_text(json.dumps(results or results_of(tasks, **more)))
    for task, lines in tasks.items():
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (home / f"samples_{task}_{date}.jsonl").write_text(text)
    return Path(folder)


def lines_of(scores, **more):
    return [sample(number, score, **more) for number, score in enumerate(scores)]


@pytest.fixture
def half():
    return [float(number % 2) for number in range(40)]


def test_a_folder_becomes_a_side(tmp_path, half):
    side = read_lm_eval(write(tmp_path / "out", {"sums": lines_of(half)}), Choices())
    suite = side.suites["sums"]
    assert np.array_equal(suite.samples.value, half)
    assert suite.facts.digests["scorer"] == "exact_match,none@1.0"
    assert suite.facts.digests["sampling.temperature"] == "0.0"
    assert suite.facts.greedy
    assert side.identity.model == "acme-7b"
    assert side.reply("sums", 3).content == "It is 4."
    assert side.item("sums", suite.samples.items.name[3]).question == f"Q: {QUESTIONS[3]}\nA:"
    assert side.item("sums", suite.samples.items.name[3]).target == "4"
    assert list(suite.samples.answer)[3] == "It is 4."
    assert "hush" not in json.dumps(side.config)


def test_what_a_gated_data_set_says_is_held_only_when_asked_for(tmp_path, half):
    folders = []
    for name, scores in (("a", half), ("b", [0.0] * 40)):
        tasks = {"gpqa_main": lines_of(scores)}
        results = results_of(tasks)
        results["configs"]["gpqa_main"]["dataset_path"] = "Idavidrein/gpqa"
        folders.append(write(tmp_path / name, tasks, results=results))
    sides = [read_lm_eval(folder, Choices()) for folder in folders]
    assert {flip.reference_text for flip in compare(*sides, Policy(), "now").flips} == {""}
    assert "It is 2." in {flip.reference_text for flip in compare(*sides, Policy(questions=True), "now").flips}


def test_items_are_matched_by_hash_not_by_place(tmp_path, half):
    one = read_lm_eval(write(tmp_path / "a", {"sums": lines_of(half)}), Choices())
    turned = [{**line, "doc_id": 39 - line["doc_id"]} for line in reversed(lines_of(half))]
    two = read_lm_eval(write(tmp_path / "b", {"sums": turned}), Choices())
    result = compare(one, two, Policy(), "now").suites[0]
    assert (result.n_items, result.difference, result.flips.regressed) == (40, 0.0, 0)
    assert {row.name: row.candidate for row in result.behaviour}["identical_texts"] == 1.0


def two_filters(half):
    strict = lines_of(half, name="strict-match")
    return [*strict, *lines_of([1.0] * 40, name="flexible-extract")]


def test_a_filter_is_named_and_never_guessed(tmp_path, half):
    folder = write(tmp_path / "out", {"sums": two_filters(half)})
    with pytest.raises(DataError) as caught:
        read_lm_eval(folder, Choices())
    assert "sums has the filters strict-match, flexible-extract: name the one that counts" in str(caught.value)
    assert "--filter sums=NAME" in str(caught.value)
    for named in (
        Named("flexible-extract"),
        Named(None, {"sums": "flexible-extract"}),
        Named("x", {"sums": "flexible-extract"}),
    ):
        if named.everywhere == "x":
            with pytest.raises(DataError, match="no task has a filter 'x'"):
                read_lm_eval(folder, Choices(filters=named))
            continue
        assert read_lm_eval(folder, Choices(filters=named)).suites["sums"].samples.value.all()
    with pytest.raises(DataError, match="has no filter 'strict'; there are: strict-match, flexible-extract"):
        read_lm_eval(folder, Choices(filters=Named("strict")))
    with pytest.raises(DataError, match="sums has no filter 'maj'"):
        read_lm_eval(folder, Choices(filters=Named(None, {"sums": "maj"})))


def test_a_task_with_one_filter_needs_no_name(tmp_path, half):
    folder = write(tmp_path / "out", {"sums": two_filters(half), "plain": lines_of(half)})
    side = read_lm_eval(folder, Choices(filters=Named("strict-match")))
    assert side.suites["plain"].facts.digests["scorer"] == "exact_match,none@1.0"
    assert side.suites["sums"].facts.digests["scorer"] == "exact_match,strict-match@1.0"


def test_two_filters_do_not_compare(tmp_path, half):
    folder = write(tmp_path / "out", {"sums": two_filters(half)})
    one, two = (read_lm_eval(folder, Choices(filters=Named(name))) for name in ("strict-match", "flexible-extract"))
    result = compare(one, two, Policy(), "now").suites[0]
    assert result.verdict is Verdict.INVALID
    assert "differ in scorer: exact_match,strict-match@1.0 against exact_match,flexible-extract@1.0" in say(
        result.reasons[0]
    )


def test_a_metric_is_named_and_never_guessed(tmp_path, half):
    lines = [sample(n, s, metrics={"acc": s, "acc_norm": 1.0}) for n, s in enumerate(half)]
    folder = write(tmp_path / "out", {"sums": lines})
    with pytest.raises(DataError, match="has the metrics acc, acc_norm: name the one that counts with --metric"):
        read_lm_eval(folder, Choices())
    assert read_lm_eval(folder, Choices(metrics=Named("acc_norm"))).suites["sums"].samples.value.all()


def test_a_metric_that_no_task_has_is_refused(tmp_path, half):
    folder = write(tmp_path / "out", {"sums": lines_of(half), "plain": lines_of(half)})
    with pytest.raises(DataError, match="no task has a metric 'acc'; there are exact_match"):
        read_lm_eval(folder, Choices(metrics=Named("acc")))


@pytest.mark.parametrize(
    ("choices", "sentence"),
    [
        ({"headlines": Named("micro")}, "--headline: has no effect on output folders of lm-eval: it is about score ta"),
        ({"filters": Named(None, {"sum": "none"})}, "--filter sum=...: no such task is compared: did you mean 'sums'?"),
        ({"metrics": Named(None, {"x": "acc"})}, "--metric x=...: no such task is compared: there are left, sums"),
    ],
)
def test_a_choice_that_nothing_heeds_is_a_mistake(tmp_path, half, choices, sentence):
    tasks = {"sums": lines_of(half), "left": lines_of(half)}
    folders = [write(tmp_path / name, tasks, groups={"both": (["left"], "micro")}) for name in ("a", "b")]
    with pytest.raises(UsageError) as caught:
        read_pair(*folders, Choices(**choices))
    assert sentence in str(caught.value)
    heeded = Choices(filters=Named(None, {"left": "none"}), metrics=Named(None, {"sums": "exact_match"}))
    assert set(read_pair(*folders, heeded)[0].suites) == {"sums", "both"}


def test_a_metric_that_is_no_score(tmp_path):
    folder = write(tmp_path / "out", {"sums": [sample(n, 1.0, metrics={"bleu": 31.5}) for n in range(40)]})
    with pytest.raises(DataError, match=r"jsonl:1: metric 'bleu' is 31.5, not a score from 0 to 1"):
        read_lm_eval(folder, Choices())


def test_several_replies_with_one_score_are_one_repeat(tmp_path, half):
    lines = [sample(n, s, resps=[["a", "b", "c"]]) for n, s in enumerate(half)]
    suite = read_lm_eval(write(tmp_path / "out", {"sums": lines}), Choices()).suites["sums"]
    assert (len(suite.samples), suite.facts.repeats) == (40, 1)
    assert any("up to 3 replies an item were asked" in note for note in told(suite.facts.notes))


def test_a_metric_with_a_value_a_reply_gives_repeats(tmp_path, half):
    lines = [
        sample(n, s, metrics={"exact_match": [s, 1.0, 0.0]}, resps=[["It is 1.", "two", ""]])
        for n, s in enumerate(half)
    ]
    folder = write(tmp_path / "out", {"sums": lines}, temperature=0.7)
    side = read_lm_eval(folder, Choices())
    samples = side.suites["sums"].samples
    assert (len(samples), side.suites["sums"].facts.repeats, side.suites["sums"].facts.greedy) == (120, 3, False)
    assert samples.value[:3].tolist() == [0.0, 1.0, 0.0]
    assert [side.reply("sums", row).content for row in range(3)] == ["It is 1.", "two", ""]
    assert samples.status[2] == Status.EMPTY


def test_several_runs_of_a_task_need_a_word(tmp_path, half):
    folder = write(tmp_path / "out", {"sums": lines_of(half)})
    write(folder, {"sums": lines_of([1.0] * 40)}, date="2026-03-05T00-00-00.000001")
    with pytest.raises(DataError, match=r"sums was run 2 times .*: say --dates latest, or --dates repeats"):
        read_lm_eval(folder, Choices())
    assert read_lm_eval(folder, Choices(dates="latest")).suites["sums"].samples.value.all()
    repeated = read_lm_eval(folder, Choices(dates="repeats")).suites["sums"]
    assert (repeated.facts.repeats, repeated.samples.value.mean()) == (2, 0.75)


@pytest.mark.parametrize(("rule", "mean"), [("micro", 0.5), ("macro", 0.375)])
def test_a_group_is_one_suite_by_its_own_rule(tmp_path, rule, mean):
    tasks = {"easy": lines_of([1.0, 0.0] * 20), "hard": lines_of([0.0, 0.0, 1.0, 0.0])}
    tasks["hard"] = [sample(n, float(n == 2), question=f"hard {n}") for n in range(4)]
    tasks["easy"] = lines_of([1.0] * 21 + [0.0] * 19)
    folder = write(tmp_path / "out", tasks, groups={"sums": (["easy", "hard"], rule)})
    side = read_lm_eval(folder, Choices())
    (suite,) = side.suites.values()
    assert (suite.facts.suite, suite.facts.headline, len(suite.samples)) == ("sums", rule, 44)
    result = compare(side, side, Policy(), "now").suites[0]
    expected = (21 + 1) / 44 if rule == "micro" else (21 / 40 + 1 / 4) / 2
    assert result.reference.mean == pytest.approx(expected)
    assert mean == pytest.approx(expected, abs=0.02)
    assert {row.heading for row in result.breakdown} == {("easy",), ("hard",)}


def test_a_group_whose_number_no_rule_gives_is_a_defect(tmp_path, half):
    tasks = {"easy": lines_of(half), "hard": [sample(n, 1.0, question=f"hard {n}") for n in range(40)]}
    results = results_of(tasks, groups={"sums": (["easy", "hard"], "micro")})
    results["groups"]["sums"]["exact_match,none"] = results["results"]["sums"]["exact_match,none"] = 0.9
    side = read_lm_eval(write(tmp_path / "out", tasks, results=results), Choices())
    assert compare(side, side, Policy(), "now").suites[0].verdict is Verdict.INVALID
    assert "is published with 0.9000" in say(side.suites["sums"].facts.defects[0])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda r: r["results"]["sums"].update({"exact_match,none": 0.8}), "says 0.8000, its samples give 0.5000"),
        (lambda r: r["n-samples"]["sums"].update({"effective": 198}), "speaks of 198 items, its samples are of 40"),
    ],
)
def test_results_that_do_not_belong_to_the_samples(tmp_path, half, change, sentence):
    tasks = {"sums": lines_of(half)}
    results = results_of(tasks)
    change(results)
    side = read_lm_eval(write(tmp_path / "out", tasks, results=results), Choices())
    result = compare(side, side, Policy(), "now").suites[0]
    assert result.verdict is Verdict.INVALID
    assert sentence in say(result.reasons[0])


def test_a_limit_of_lm_evals_is_a_part_of_the_data_set(tmp_path, half):
    tasks = {"sums": lines_of(half)}
    results = results_of(tasks)
    results["n-samples"]["sums"]["original"] = 198
    side = read_lm_eval(write(tmp_path / "out", tasks, results=results), Choices())
    assert part_text(compare(side, side, Policy(), "now").suites[0]) == "40 of 198 items"
    whole = read_lm_eval(write(tmp_path / "whole", tasks), Choices())
    assert part_text(compare(whole, whole, Policy(), "now").suites[0]) == ""


def test_other_prompts_and_settings_are_invalid(tmp_path, half):
    one = read_lm_eval(write(tmp_path / "a", {"sums": lines_of(half)}), Choices())
    two = read_lm_eval(
        write(tmp_path / "b", {"sums": lines_of(half, prompt_hash="x")}, temperature=0.7, version=2.0), Choices()
    )
    reasons = " | ".join(told(compare(one, two, Policy(), "now").suites[0].reasons))
    assert "differ in prompts: 40 of 40 items differ" in reasons
    assert "differ in sampling.temperature: 0.0 against 0.7" in reasons
    assert "differ in scorer: exact_match,none@1.0 against exact_match,none@2.0" in reasons


def test_equal_documents_are_one_question(tmp_path, half):
    lines = [sample(n, half[n], question=QUESTIONS[n % 20]) for n in range(40)]
    for line in lines:
        line["doc"]["answer"] = "1"
        line["doc_hash"] = hashlib.sha256(line["doc"]["question"].encode()).hexdigest()
    side = read_lm_eval(write(tmp_path / "out", {"sums": lines}), Choices())
    assert len(side.suites["sums"].samples.items) == 40
    result = compare(side, side, Policy(), "now").suites[0]
    assert any("20 of 40 items repeat the question" in note for note in told(result.notes))


def test_chat_prompts_show_the_last_user_turn(tmp_path, half):
    turns = json.dumps([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}])
    lines = lines_of(half)
    for line in lines:
        line["arguments"] = {"gen_args_0": {"arg_0": turns, "arg_1": {}}}
    side = read_lm_eval(write(tmp_path / "out", {"sums": lines}), Choices())
    assert side.item("sums", side.suites["sums"].samples.items.name[0]).question == "Why?"


def test_log_likelihood_samples_have_scores_and_no_texts(tmp_path, half):
    lines = [sample(n, s, resps=[[["-1.5", "True"]], [["-2.5", "False"]]]) for n, s in enumerate(half)]
    side = read_lm_eval(write(tmp_path / "out", {"sums": lines}), Choices())
    assert side.reply("sums", 0) is None
    assert compare(side, side, Policy(), "now").suites[0].difference == 0.0


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda home: (home / f"samples_sums_{DATE}.jsonl").unlink(),
            "no samples_*.jsonl: run lm_eval with --log_samples",
        ),
        (lambda home: (home / f"results_{DATE}.json").unlink(), f"has samples of {DATE}, but no results_{DATE}.json"),
        (lambda home: (home / f"results_{DATE}.json").write_text("{"), "is no JSON"),
        (lambda home: (home / f"results_{DATE}.json").write_text("{}"), "has no `results`"),
        (lambda home: (home / f"samples_sums_{DATE}.jsonl").write_text("{}\n{"), ":2: is no JSON"),
        (lambda home: (home / f"samples_sums_{DATE}.jsonl").write_text("[]\n"), ":1: a row is a JSON object"),
        (lambda home: (home / f"samples_sums_{DATE}.jsonl").write_text(""), "holds no sample"),
        (lambda home: (home / f"samples_sums_{DATE}.jsonl").write_text('{"filter": "none"}\n'), "names no metric"),
        (
            lambda home: (home / f"samples_sums_{DATE}.jsonl").write_text(
                '{"filter": "none", "metrics": ["a"], "a": 1}\n'
            ),
            "has no doc_hash",
        ),
    ],
)
def test_damaged_folders_say_what_is_wrong(tmp_path, half, make, sentence):
    folder = write(tmp_path / "out", {"sums": lines_of(half)})
    make(folder / "acme-7b")
    with pytest.raises(DataError) as caught:
        read_lm_eval(folder, Choices())
    assert sentence in str(caught.value)
    assert str(folder) in str(caught.value)


def test_two_models_in_one_folder(tmp_path, half):
    folder = write(tmp_path / "out", {"sums": lines_of(half)})
    other = folder / "other"
    other.mkdir()
    for path in (folder / "acme-7b").iterdir():
        (other / path.name.replace("2026", "2025")).write_bytes(path.read_bytes())
    with pytest.raises(DataError, match="holds the samples of several models"):
        read_lm_eval(folder, Choices())
    assert read_lm_eval(folder / "acme-7b", Choices()).suites


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (("a=",), "--filter a=: say NAME or SUITE=NAME"),
        (("a", "b"), "says both 'a' and 'b'"),
        (("t=a", "t=b"), "says both 'a' and 'b' for t"),
    ],
)
def test_choices_that_mean_nothing(given, sentence):
    with pytest.raises(UsageError) as caught:
        Named.parse("--filter", given)
    assert sentence in str(caught.value)
    assert Named.parse("--filter", ("x", "t=a", "t=a")) == Named("x", {"t": "a"})


@pytest.mark.slow
def test_a_folder_that_lm_eval_itself_wrote(tmp_path):
    """The real command with its dummy model: two filters over three replies an item, and a group."""
    import os
    import subprocess
    import sys

    (tmp_path / "rows.jsonl").write_text(
        "".join(json.dumps({"q": f"Say {n}", "a": "lol" if n % 2 else str(n)}) + "\n" for n in range(24))
    )
    common = f"""
dataset_path: json
dataset_kwargs: {{data_files: {{test: {tmp_path}/rows.jsonl}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{q}}}}"
doc_to_target: "{{{{a}}}}"
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
metadata: {{version: 1.0}}
"""
    vote = "repeats: 3\nfilter_list: [{name: first, filter: [{function: take_first}]}, {name: maj, filter: [{function: majority_vote}, {function: take_first}]}]\n"
    (tmp_path / "voted.yaml").write_text("task: voted\n" + common + vote)
    for part in ("left", "right"):
        (tmp_path / f"{part}.yaml").write_text(f"task: {part}\n" + common)
    group = "group: both\ntask: [left, right]\naggregate_metric_list: [{metric: exact_match, weight_by_size: true}]\nmetadata: {version: 1.0}\n"
    (tmp_path / "both.yaml").write_text(group)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
    command = ["--model", "dummy", "--tasks", "voted,both", "--include_path", str(tmp_path), "--log_samples"]
    subprocess.run(
        [sys.executable, "-m", "lm_eval", *command, "--output_path", str(tmp_path / "out")],
        check=True,
        capture_output=True,
        env=environment,
        timeout=300,
    )
    with pytest.raises(DataError, match="voted has the filters first, maj"):
        read_lm_eval(tmp_path / "out", Choices())
    side = read_lm_eval(tmp_path / "out", Choices(filters=Named("maj")))
    assert set(side.suites) == {"voted", "both"}
    assert (len(side.suites["voted"].samples), len(side.suites["both"].samples)) == (24, 48)
    made = compare(side, side, Policy(), "now")
    assert [suite.difference for suite in made.suites] == [0.0, 0.0]
    assert {suite.suite: suite.reference.mean for suite in made.suites} == {"voted": 0.5, "both": 0.5}
