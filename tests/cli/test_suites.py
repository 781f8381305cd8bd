"""`evalkit suites` lists what there is; `show` prints what is sent; users' own tasks and lm-eval's run by name."""

import json

import pytest

OWN_TASK = """
task: my_letters
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}}
test_split: test
output_type: generate_until
doc_to_text: "{{q}}"
doc_to_target: "{{a}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 16, temperature: 0.0}
filter_list:
  - name: letter
    filter:
      - {function: regex, regex_pattern: "([A-D])"}
      - {function: take_first}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
metadata: {version: 1.0}
"""


def test_every_suite_is_listed_with_what_a_reader_needs(run_evalkit):
    done = run_evalkit("suites", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    suites = {suite["name"]: suite for suite in document["suites"]}
    assert {"aime24", "aime25", "gpqa_diamond", "gpqa_pooled", "mmlu_gen_5shot", "musr", "livebench"} <= set(suites)
    assert all(suite["label"] and suite["licence"] and suite["margin_pt"] > 0 for suite in suites.values())
    assert suites["gpqa_diamond"]["gated"] is True
    named = {entry["name"] for pack in document["packs"].values() for entry in pack}
    assert named <= set(suites), "a pack names suites that exist"


def test_show_prints_the_rendered_prompt(run_evalkit, invented):
    done = run_evalkit("suites", "show", "mmlu_gen_5shot", "--data", invented)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("--- assistant\nAnswer: ") == 5
    assert "The following are multiple choice questions about" in done.stdout


def test_a_task_of_the_users_own_runs_by_name(endpoint, config, run_evalkit, tmp_path):
    folder = tmp_path / "mytasks"
    folder.mkdir()
    rows = [{"q": f"Pick {'ABCD'[n % 4]}? (hint {'ABCD'[n % 4]})", "a": "ABCD"[n % 4]} for n in range(24)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "task.yaml").write_text(OWN_TASK.replace("FILE", str(folder / "rows.jsonl")))
    endpoint.answer = lambda messages: messages[-1]["content"].split("hint ")[1][0]
    path = config("ref", endpoint.url, [{"name": "my_letters"}], suite_folders=[str(folder)])
    done = run_evalkit("run", path, "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    (suite,) = json.loads(done.stdout)["suites"]
    assert (suite["mean"], suite["valued"]) == (1.0, 24)
    body = endpoint.requests[0]
    assert body["stop"] == ["\n"]
    assert body["max_tokens"] == 16
    assert [message["role"] for message in body["messages"]] == ["user"]


@pytest.mark.parametrize(
    ("name", "words"),
    [("hellaswag", "no log-likelihoods"), ("gsm9k", "no suite or lm-eval task is called")],
)
def test_what_cannot_run_over_chat_is_refused_with_a_sentence(endpoint, config, run_evalkit, name, words):
    done = run_evalkit("run", config("ref", endpoint.url, [{"name": name}]), "--quiet")
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_lm_evals_own_generative_tasks_are_found_without_its_index():
    from evalkit.tasks.suites import find_suite

    suite = find_suite("gsm8k")
    assert suite.origin == "lm-eval"
    assert suite.file.name.startswith("gsm8k")
