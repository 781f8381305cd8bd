"""Fixtures: a server that misbehaves, and runs against it with what became of every question."""

import json
import subprocess
import sys
import urllib.request
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from stored_run import journal_records

HERE = Path(__file__).resolve().parent
SUITE = """
task: {name}
custom_dataset: !function evalkit.tasks.data.load
test_split: test
output_type: generate_until
doc_to_text: "{{{{prompt}}}}"
doc_to_target: "{{{{answer}}}}"
process_results: !function evalkit.scoring.hooks.choice
generation_kwargs: {{until: [], max_gen_toks: 64, do_sample: false, temperature: 0.0}}
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
metadata:
  version: 1.0
  evalkit: {{label: Faults, scorer: choice, chance: 0.25, source: {{file: "{file}"}}}}
"""


class Faulty:
    """The server of faulty.py."""

    script = HERE / "faulty.py"

    def __init__(self):
        self.process = subprocess.Popen([sys.executable, self.script], stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}/v1"

    def _call(self, path, data=None):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", data, timeout=20) as answer:
            return json.loads(answer.read())

    def plan(self, *faults):
        """What it is to do wrong; forgets what was before."""
        self._call("/plan", json.dumps(faults).encode())

    @property
    def stats(self):
        return self._call("/stats")

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture(scope="session")
def _faulty_for_all():
    server = Faulty()
    yield server
    server.close()


@pytest.fixture
def faulty(_faulty_for_all):
    """One that is still there after the test."""
    _faulty_for_all.plan()
    return _faulty_for_all


@pytest.fixture
def mortal():
    """One of the test's own, which may die."""
    server = Faulty()
    yield server
    server.close()


@dataclass
class Ended:
    """What a run's folder says: the planned questions, and the journal's records by kind."""

    planned: int
    replies: list
    failures: list

    def check(self, *, whole=True):
        """Every question has a reply or a failure with a name; none has two, and no answer went to another item."""
        keys = [record["key"] for record in (*self.replies, *self.failures)]
        assert max(Counter(keys).values()) == 1
        assert len(keys) == self.planned or not whole, "lost"
        assert all(record["kind"] and record["detail"] for record in self.failures)
        for record in self.replies:
            text = record["body"]["choices"][0]["message"]["content"]
            assert f"item={record['item']}\n" in text, "another item's answer"

    @property
    def kinds(self):
        return Counter(record["kind"] for record in self.failures)


@pytest.fixture
def questions(tmp_path):
    """`questions(url, 100, concurrency=8, stall_seconds=0.5)`: a configuration that asks 100 items."""

    def write(url, items, *, repeats=1, client="aiohttp", stream=False, sampled=False, **limits):
        rows = [
            {
                "id": f"q{n}",
                "prompt": f"Which of A to D? item=q{n} answer={'ABCD'[n % 4]} end",
                "answer": "ABCD"[n % 4],
                "choices": list("wxyz"),
            }
            for n in range(items)
        ]
        data = tmp_path / "rows.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows))
        (tmp_path / "suites").mkdir(exist_ok=True)
        (tmp_path / "suites" / "faults.yaml").write_text(SUITE.format(name="faults", file=data))
        config = tmp_path / "endpoint.yaml"
        config.write_text(
            f"name: side\nbase_url: {url}\nmodel: faulty\nruns: {tmp_path / 'runs'}\n"
            f"suite_folders: [{tmp_path / 'suites'}]\nclient: {client}\nstream: {json.dumps(stream)}\n"
            f"sampling: {{temperature: {0.6 if sampled else 0.0}}}\nlimits: {json.dumps(limits)}\nsuites: [{{name: faults, repeats: {repeats}}}]\n"
        )
        return config

    return write


@pytest.fixture
def ended(tmp_path):
    """What is in the run's folder now."""

    def read(planned):
        records = journal_records(tmp_path / "runs" / "side")
        by = {kind: [record for record in records if record["record"] == kind] for kind in ("reply", "failure")}
        return Ended(planned, by["reply"], by["failure"])

    return read
