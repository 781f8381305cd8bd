"""The scorers as lm-eval's `process_results`."""

import json
import logging

import pytest

from evalkit.errors import DataError
from evalkit.model import Score, Status
from evalkit.scoring import hooks

DOC = {"id": "h1", "choices": ["alpha", "beta"], "answer": "B"}


@pytest.mark.parametrize(
    ("results", "acc"),
    [
        (["Answer: B"], 1.0),
        (["<think>Answer: B</think>Answer: A"], 0.0),
        ([["Answer: B", "Answer: A", "", "Answer: B"]], 0.5),
        ([("Answer: B",)], 1.0),
    ],
)
def test_replies_are_scored_and_repeats_averaged(results, acc):
    assert hooks.choice(DOC, results) == {"acc": acc}


def test_each_hook_uses_its_scorer():
    assert hooks.integer({"answer": "033"}, [r"\boxed{33}"]) == {"acc": 1.0}
    assert hooks.expression({"answer": r"\frac{1}{2}"}, [r"\boxed{\dfrac{1}{2}}"]) == {"acc": 1.0}


@pytest.mark.parametrize("name", ["choise", "option_logprobs", "__path__"])
def test_there_is_a_hook_for_nothing_else(name):
    assert not hasattr(hooks, name)


def test_a_reply_without_a_verdict_is_left_out_with_a_warning(monkeypatch, caplog):
    values = iter([None, 1.0, 0.0, None])
    monkeypatch.setattr(hooks, "scorer", lambda _: lambda _doc, _final: Score(next(values), Status.GRADE_ERROR))
    assert hooks.expression(DOC, [["a", "b", "c"]]) == {"acc": 0.5}
    with caplog.at_level(logging.WARNING):
        assert hooks.expression(DOC, ["a"]) == {}
    assert "item 'h1'" in caplog.text


@pytest.mark.parametrize("results", [[], [[]]])
def test_no_reply_at_all_is_an_error(results):
    with pytest.raises(ValueError, match="item 'h1' has no reply"):
        hooks.choice(DOC, results)


def test_an_empty_truth_is_an_error():
    with pytest.raises(DataError):
        hooks.choice({**DOC, "answer": ""}, ["Answer: B"])


@pytest.mark.slow
def test_plain_lm_eval_gives_the_same_number_and_leaves_out_what_has_no_verdict(tmp_path, monkeypatch):
    lm_eval = pytest.importorskip("lm_eval")
    from lm_eval.api.model import LM
    from lm_eval.tasks import TaskManager

    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    rows = [{"question": f"q{i}", "choices": ["alpha", "beta"], "answer": "AB"[i % 2]} for i in range(3)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "task.yaml").write_text(
        f"""
        task: hook_task
        dataset_path: json
        dataset_kwargs: {{data_files: {{test: {tmp_path}/rows.jsonl}}}}
        test_split: test
        output_type: generate_until
        doc_to_text: "{{{{question}}}}"
        doc_to_target: "{{{{answer}}}}"
        process_results: !function evalkit.scoring.hooks.choice
        generation_kwargs: {{until: [], max_gen_toks: 8, do_sample: false, temperature: 0.0}}
        metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
        """
    )

    class AlwaysA(LM):
        def generate_until(self, requests):
            return ["**Answer: A**"] * len(requests)

        loglikelihood = loglikelihood_rolling = None

    def accuracy():
        manager = TaskManager(include_path=str(tmp_path), include_defaults=False)
        found = lm_eval.simple_evaluate(AlwaysA(), tasks=["hook_task"], task_manager=manager, bootstrap_iters=0)
        return found["results"]["hook_task"]["acc,none"]

    AlwaysA.__abstractmethods__ = frozenset()
    assert accuracy() == pytest.approx(2 / 3)
    values = iter([1.0, None, 0.0])
    monkeypatch.setattr(hooks, "scorer", lambda _: lambda _doc, _final: Score(next(values), Status.SCORED))
    assert accuracy() == pytest.approx(1 / 2)
