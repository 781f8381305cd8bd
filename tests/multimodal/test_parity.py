"""A suite with one picture an item gives the same score under plain lm-eval, whose chat model carries the pictures."""

import json
import os
import subprocess
import sys

from evalkit.resources import data_folder

PLAIN = """
import json, sys
from lm_eval.evaluator import simple_evaluate
from lm_eval.tasks import TaskManager
url, folder, task = sys.argv[1:]
manager = TaskManager(include_path=folder, include_defaults=False, metadata={"evalkit_options": {"partial": True}})
found = simple_evaluate(
    model="local-chat-completions",
    model_args={"base_url": url + "/chat/completions", "model": "loopback", "num_concurrent": 4, "max_retries": 1},
    tasks=[task], task_manager=manager, apply_chat_template=True, bootstrap_iters=0, log_samples=False,
)
print("SCORE" + json.dumps(found["results"][task]["acc,none"]))
"""


def test_ocrbench_scores_the_same_under_plain_lm_eval(endpoint, config, invoke, ocrbench, tmp_path):
    data = ocrbench(24)
    # Right for some rows only, and told by words and picture alone, so that the layout does not matter.
    endpoint.answer = lambda text: text.split("hint ")[-1].rstrip(")") if "1" in text else "no idea"
    ours = invoke("run", config("ref", endpoint.url, ["ocrbench"], data), "--json", "--quiet")
    assert ours.code == 0, ours.err
    (suite,) = json.loads(ours.out)["suites"]
    seen = sorted(map(sorted, endpoint.asked))
    endpoint.asked.clear()
    script = tmp_path / "plain.py"
    script.write_text(PLAIN)
    environment = {**os.environ, "EVALKIT_DATA": str(data), "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
    theirs = subprocess.run(
        [sys.executable, str(script), endpoint.url, str(data_folder("suites")), "ocrbench"],
        capture_output=True, text=True, env=environment, timeout=120, cwd=tmp_path,
    )  # fmt: skip
    assert theirs.returncode == 0, theirs.stderr[-3000:]
    score = json.loads(theirs.stdout.split("SCORE")[1])
    assert abs(score - suite["mean"]) < 1e-9
    assert 0.2 < score < 0.8
    assert sorted(map(sorted, endpoint.asked)) == seen, "the same pixels and the same words"
