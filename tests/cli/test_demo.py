"""The demo's suite scores the same under plain lm-eval; its four configurations differ in what they say they differ in."""

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from render_example import clean, suite

from evalkit.config import load_config
from evalkit.config.schema import differences
from evalkit.model import BehaviourRow, Verdict
from evalkit.publish import archive
from evalkit.resources import data_folder

DEMO = Path(__file__).resolve().parent.parent.parent / "examples" / "demo"

PLAIN = """
import json, sys
from lm_eval.evaluator import simple_evaluate
from lm_eval.tasks import TaskManager
found = simple_evaluate(
    model="local-chat-completions",
    model_args={"base_url": sys.argv[1] + "/chat/completions", "model": "loopback", "num_concurrent": 8, "max_retries": 1},
    tasks=["demo"], task_manager=TaskManager(include_path=sys.argv[2], include_defaults=False),
    apply_chat_template=True, fewshot_as_multiturn=True, bootstrap_iters=0, log_samples=False,
)
print("SCORES" + json.dumps(found["results"]["demo"]["acc,none"]))
"""


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("demo_script", DEMO / "demo.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_suite_scores_the_same_under_plain_lm_eval(endpoint, config, run_evalkit, tmp_path):
    rows = [json.loads(line) for line in (data_folder("suites") / "demo" / "demo.jsonl").read_text().splitlines()]
    known = {row["prompt"]: row["answer"] for row in rows}

    def answer(messages):
        text = messages[-1]["content"]
        dice = hashlib.sha256(text.encode()).digest()[0] % 4
        return (known[text], f" {known[text].upper()}!", "I do not know", f"Perhaps {known[text]}")[dice]

    endpoint.answer = answer
    ours = run_evalkit("run", config("mine", endpoint.url, ["demo"]), "--json", "--quiet")
    assert ours.returncode == 0, ours.stderr
    (mine,) = json.loads(ours.stdout)["suites"]
    theirs = subprocess.run(
        [sys.executable, "-c", PLAIN, endpoint.url, str(data_folder("suites"))],
        capture_output=True, text=True, env={**os.environ, "TQDM_DISABLE": "1"}, timeout=300, cwd=tmp_path,
    )  # fmt: skip
    assert theirs.returncode == 0, theirs.stderr[-3000:]
    assert mine["planned"] == 200
    assert json.loads(theirs.stdout.split("SCORES")[1]) == pytest.approx(mine["mean"], abs=1e-12)
    assert 0.3 < mine["mean"] < 0.7
    assert {len(request["messages"]) for request in endpoint.requests} == {5}


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("faithful", {"cache_type_k", "cache_type_v", "flash_attention"}),
        ("degraded", {"attention_rotation", "cache_type_k", "cache_type_v", "flash_attention"}),
        ("rope", {"rope_freq_base"}),
    ],
)
def test_every_candidate_differs_from_the_reference_in_its_launch_only(name, keys):
    reference, candidate = (load_config(DEMO / f"{side}.yaml", ()) for side in ("reference", name))
    found = {difference.key for difference in differences(reference, candidate)}
    assert found == {"name"} | {f"launch.{key}" for key in keys}


def test_the_script_passes_only_with_the_expected_verdicts(script, capsys):
    assert script.summarise({"faithful": 0, "degraded": 1, "rope": 4}, 60.0) == 0
    assert "all as expected, in 60 s" in capsys.readouterr().out
    for name, code in (("faithful", 4), ("degraded", 0), ("degraded", 3), ("rope", 0), ("rope", 1)):
        assert script.summarise({"faithful": 0, "degraded": 1, "rope": 4, name: code}, 60.0) == 1
        assert "NOT as expected" in capsys.readouterr().out


def test_the_script_says_how_many_texts_are_the_same(script, tmp_path, capsys):
    for name, share in (("rope", 0.25), ("faithful", 0.75)):
        folder = tmp_path / f"reference--{name}"
        folder.mkdir()
        row = BehaviourRow("identical_texts", None, share, "share")
        made = suite("demo", "Demo", Verdict.INCONCLUSIVE)
        archive.store(replace(clean(), suites=(replace(made, behaviour=(row,)),)), folder, print)
    script.explain_rope(tmp_path)
    told = capsys.readouterr().out
    assert "only 25% of its texts are the reference's, where the faithful\nport gives 75%" in told


def test_a_command_that_fails_ends_the_script_with_its_code(script):
    with pytest.raises(script.Stopped) as stopped:
        script.one([sys.executable, "-c", "raise SystemExit(70)"])
    assert stopped.value.args == (70,)


def test_an_interrupted_script_leaves_no_command_behind(script, monkeypatch):
    started = []

    class Recorded(subprocess.Popen):
        def __init__(self, *arguments, **named):
            super().__init__(*arguments, **named)
            started.append(self)

    monkeypatch.setattr(script.subprocess, "Popen", Recorded)
    with pytest.raises(KeyboardInterrupt), script.running([sys.executable, "-c", "import signal; signal.pause()"]):
        raise KeyboardInterrupt
    assert [process.returncode for process in started] == [-15]
