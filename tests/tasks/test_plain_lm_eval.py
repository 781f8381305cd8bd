"""Plain lm-eval, which knows nothing of evalkit's runs: every shipped suite asks it the same items in the same words."""

import json
import re
import shutil
from contextlib import suppress
from itertools import groupby, islice
from pathlib import Path

import pytest
from picture_endpoint import NINE, colour, nine_tables, saved

from evalkit.resources import data_folder
from evalkit.tasks.items import LoadOptions, load_suite
from evalkit.tasks.suites import find_suite

lm_eval = pytest.importorskip("lm_eval")
from lm_eval.api.model import LM  # noqa: E402
from lm_eval.evaluator import simple_evaluate  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "suites"
CODE = {"livebench_lcb_generation", "livebench_coding_completion"}
"""evalkit asks them where it may run programs; lm-eval where they are named."""
GPQA = ["Record ID", "Question", "Correct Answer", *(f"Incorrect Answer {n}" for n in (1, 2, 3)), "High-level domain"]
INVENTED = {
    "math_500/test": [{"problem": f"What is {n} + 1?", "answer": str(n + 1), "unique_id": f"m{n}"} for n in range(3)],
    "mmlu_pro/test": [
        {"question_id": n, "question": f"{n}?", "options": ["a", "b", "c"], "answer": "B", "category": "law"}
        for n in range(3)
    ],
    **{
        f"gpqa/{name}": [
            dict(zip(GPQA, (f"rec{n}", f"{n}?", "1", "2", "3", "4", "Physics"), strict=True)) for n in rows
        ]
        for name, rows in (("gpqa_diamond", [1]), ("gpqa_main", [1, 2]), ("gpqa_extended", [1, 2, 3]))
    },
}
UNTAUGHT = {"ground_truth": "x", "livebench_release_date": "2024-06-24", "livebench_removal_date": ""}


@pytest.fixture(scope="module")
def data(shared_data, tmp_path_factory):
    """A folder with a few rows of every suite's data: real ones where there are any beside the checkout."""
    root = tmp_path_factory.mktemp("data")
    real = {f"{name}/{name}": (name, 3) for name in ("aime2024", "aime2025")}
    real |= {"theoremqa/theoremqa_test": ("theoremqa", 200)}
    real |= {f"musr/{path.stem}": ("musr_small", 2) for path in (shared_data / "musr_small").glob("*.jsonl")}
    tables = {name: rows_of(shared_data / folder / f"{Path(name).name}.jsonl", n) for name, (folder, n) in real.items()}
    for split, each in (("test", 2), ("dev", 5)):
        rows = rows_of(shared_data / "mmlu" / f"{split}.jsonl", 300)
        subjects = islice(groupby(rows, lambda row: row["subject"]), 2)
        tables[f"mmlu/{split}"] = [row for _, group in subjects for row in islice(group, each)]
    for path in (shared_data / "livebench" / "prompts_only").glob("*.jsonl"):
        whole = shared_data / "livebench" / "questions" / path.name
        rows = rows_of(whole, 200) if whole.is_file() else [{**row, **UNTAUGHT} for row in rows_of(path, 2)]
        tables[f"livebench/{path.stem}"] = rows
    tables |= INVENTED | nine_tables(lambda n: f"images/{n}.png")
    for name, rows in tables.items():
        path = root / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for folder in {(root / name).parent for name in nine_tables(str)}:
        (folder / "images").mkdir()
        for n in range(60):
            (folder / "images" / f"{n}.png").write_bytes(saved(colour(n)))
    return root


def rows_of(path, most):
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in islice(lines, most)]


class Silent(LM):
    """A model that says nothing, and remembers what it was asked."""

    tokenizer_name = ""

    def __init__(self, *, pictures):
        super().__init__()
        self.MULTIMODAL = pictures  # a text model is refused a task that may have pictures
        self.asked = []

    def chat_template(self, _name=False):
        return "messages"

    def apply_chat_template(self, messages, add_generation_prompt=True):
        return json.dumps(messages)

    def generate_until(self, requests, **_):
        self.asked += requests
        return [""] * len(requests)

    def loglikelihood(self, requests, **_):
        self.asked += requests
        return [(-1.0, False)] * len(requests)

    def loglikelihood_rolling(self, requests, **_):
        raise NotImplementedError


def asked_by_lm_eval(task, folder, options):
    """(item id, what the model is shown) of every request of plain lm-eval's, and the task's results."""
    model = Silent(pictures=task in {*NINE, "demo_multimodal"})
    metadata = {"evalkit_options": options} if options else None
    manager = TaskManager(include_path=str(folder), include_defaults=False, metadata=metadata)
    chat = not task.startswith("mmlu_logprob")
    found = simple_evaluate(
        model, tasks=[task], task_manager=manager, apply_chat_template=chat, fewshot_as_multiturn=chat,
        bootstrap_iters=0, log_samples=False,
    )  # fmt: skip
    texts = [(request.doc["id"], request.args[0] + (request.args[1] if not chat else "")) for request in model.asked]
    return sorted((item, shown(text)) for item, text in texts), found["results"][task]


def asked_by_evalkit(task, options, folders=()):
    suite = find_suite("livebench" if task.startswith("livebench") else task, folders)
    items = load_suite(suite, options).items
    asked = [(item.id, prompt) for item in items if item.task == task for prompt in item.prompts]
    return sorted(
        (item, shown(json.dumps(prompt.messages) if prompt.messages else prompt.text)) for item, prompt in asked
    )


def text_of(content):
    return content if isinstance(content, str) else "".join(part.get("text", "<image>") for part in content)


def shown(text):
    """A prompt without the marks of its pictures, and without the names that the two give turns."""
    with suppress(ValueError):
        text = "\n".join(f"{turn['role']}: {text_of(turn['content'])}" for turn in json.loads(text))
    return " ".join(re.sub(r"<image[ \d]*>|\[image \d+\]", " ", text).split())


TASKS = sorted(path.stem for path in data_folder("suites").rglob("*.yaml") if path.parent.name != "packs")


@pytest.mark.parametrize("task", [task for task in TASKS if task != "livebench"])
def test_a_suite_asks_plain_lm_eval_the_same(task, data, monkeypatch):
    monkeypatch.setenv("EVALKIT_DATA", str(data))
    theirs, _ = asked_by_lm_eval(task, data_folder("suites"), {"partial": True})
    assert theirs
    assert task in CODE or theirs == asked_by_evalkit(task, LoadOptions(data=str(data), partial=True))


def test_a_group_has_its_tasks_under_plain_lm_eval(data, monkeypatch):
    monkeypatch.setenv("EVALKIT_DATA", str(data))
    options = {"evalkit_options": {"partial": True}}
    manager = TaskManager(include_path=str(data_folder("suites")), include_defaults=False, metadata=options)
    assert set(manager.load(["livebench"])["tasks"]) == {task for task in TASKS if task.startswith("livebench_")}


def test_code_and_data_beside_a_suite_are_found_without_a_path(tmp_path, monkeypatch):
    folder = tmp_path / "mine"
    shutil.copytree(EXAMPLES, folder)
    monkeypatch.delenv("EVALKIT_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    theirs, results = asked_by_lm_eval("words", folder, None)
    assert len(theirs) == 8
    assert theirs == asked_by_evalkit("words", LoadOptions(), [folder])
    assert results["acc,none"] == 0  # nothing was said
