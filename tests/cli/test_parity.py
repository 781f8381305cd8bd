"""Every suite gives the same score under evalkit and under plain lm-eval, on the same deterministic endpoint."""

import json
import os
import subprocess
import sys
from pathlib import Path

from evalkit.resources import data_folder

SUITES = [
    "aime24", "aime25", "gpqa_diamond", "gpqa_main", "gpqa_extended", "gpqa_pooled",
    "mmlu_gen_5shot", "mmlu_gen_5shot_lite", "musr",
]  # fmt: skip

PLAIN = """
import json, sys
from lm_eval.evaluator import simple_evaluate
from lm_eval.tasks import TaskManager
url, folder, tasks = sys.argv[1], sys.argv[2], sys.argv[3].split(",")
manager = TaskManager(include_path=folder, include_defaults=False, metadata={"evalkit_options": {"partial": True}})
found = simple_evaluate(
    model="local-chat-completions",
    model_args={"base_url": url + "/chat/completions", "model": "loopback", "num_concurrent": 8, "max_retries": 1},
    tasks=tasks, task_manager=manager, apply_chat_template=True, fewshot_as_multiturn=True, bootstrap_iters=0, log_samples=False,
)
print("SCORES" + json.dumps({task: scores["acc,none"] for task, scores in found["results"].items()}))
"""


def test_every_suite_scores_the_same_under_plain_lm_eval(endpoint, config, invented, run_evalkit, tmp_path):
    path = config("mine", endpoint.url, SUITES)
    ours = run_evalkit("run", path, "--json", "--quiet")
    assert ours.returncode == 0, ours.stderr
    mine = {suite["suite"]: suite["mean"] for suite in json.loads(ours.stdout)["suites"]}
    script = tmp_path / "plain.py"
    script.write_text(PLAIN)
    environment = {**os.environ, "EVALKIT_DATA": str(invented), "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
    theirs = subprocess.run(
        [sys.executable, str(script), endpoint.url, str(data_folder("suites")), ",".join(SUITES)],
        capture_output=True, text=True, env=environment, timeout=300, cwd=Path(tmp_path),
    )  # fmt: skip
    assert theirs.returncode == 0, theirs.stderr[-3000:]
    plain = json.loads(theirs.stdout.split("SCORES")[1])
    assert set(plain) == set(mine)
    assert {task: round(score, 9) for task, score in plain.items()} == {
        task: round(score, 9) for task, score in mine.items()
    }
    assert all(0.05 < score < 1 for score in mine.values()), "the endpoint must be neither perfect nor hopeless"
