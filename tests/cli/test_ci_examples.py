"""The files under examples/ci and action.yml: valid by their schemas, and every command in them run on loopback endpoints.

What stands for the platform here: its variables, its expressions, and a `python` and `pip` that note an installation
in place of making it.
"""

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml

from evalkit.publish.history import read

ROOT = Path(__file__).resolve().parents[2]
CI = ROOT / "examples" / "ci"
SCHEMAS = [
    (ROOT / "action.yml", "github-actions"),
    (CI / "github.yml", "github-workflows"),
    (CI / "gitlab.yml", "gitlab-ci"),
]
HANGS = 900  # seconds after which a script has hung, however busy the machine
OF_THE_PLATFORM = {"actions/checkout@v5", "actions/setup-python@v6", "actions/cache@v4", "actions/upload-artifact@v4"}


@pytest.mark.parametrize(("path", "schema"), SCHEMAS, ids=[path.name for path, _ in SCHEMAS])
def test_the_platforms_own_schema(path, schema):
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def home(tmp_path):
    """A repository with the example files at its root, a pack of one small suite, and a bin folder."""
    home = tmp_path / "home"
    home.mkdir()
    for file in CI.iterdir():
        if file.is_file():
            shutil.copy(file, home)
    packs = tmp_path / "suites" / "packs"
    packs.mkdir(parents=True)
    suite = {"name": "gpqa_diamond", "partial_data": True, "repeats": 1, "margin_pt": 40}
    for name in ("nightly", "nightly-bank"):
        (packs / f"{name}.yaml").write_text(yaml.safe_dump({"about": "small", "suites": [suite]}))
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    note = f'echo "$@" >> {tmp_path}/installed'
    scripts = {
        "python": f'if [ "$1 $2 $3" = "-m pip install" ]; then {note}; else exec {sys.executable} "$@"; fi',
        "pip": note,
        "evalkit": f'exec {sys.executable} -m evalkit "$@"',
    }
    for name, script in scripts.items():
        (bin_folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (bin_folder / name).chmod(0o755)
    return home


@pytest.fixture
def spoiled(answering):
    return answering(lambda fingerprint: fingerprint > 0)


@pytest.fixture
def environment(home, tmp_path, endpoint, other_endpoint, answering, invented):
    endpoint.answer = other_endpoint.answer = answering(lambda fingerprint: fingerprint == 1)
    other = ("EVALKIT_", "HF_", "GITHUB_", "GITLAB_", "CI_")
    kept = {key: value for key, value in os.environ.items() if key == "EVALKIT_CACHE" or not key.startswith(other)}
    return kept | {
        "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "EVALKIT_SUITES": str(tmp_path / "suites"),
        "EVALKIT_DATA": str(invented),
        "EVALKIT_MODEL": "loopback",
        "REFERENCE_URL": endpoint.url,
        "CANDIDATE_URL": other_endpoint.url,
        "HF_HUB_OFFLINE": "1",
    }


def bash(script, home, environment):
    """As GitHub's `shell: bash`, and as strict as GitLab's shell."""
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    return subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=HANGS)


class GitHub:
    """As much of a runner as the examples need: expressions, files that steps write to, composite actions."""

    def __init__(self, home, environment, contexts):
        self.home, self.contexts = home, contexts
        self.folder = home.parent / "runner"
        self.folder.mkdir()
        files = {name: str(self.folder / name) for name in ("GITHUB_STEP_SUMMARY", "GITHUB_ENV", "GITHUB_OUTPUT")}
        self.environment = {**environment, **files, "GITHUB_ACTIONS": "true", "GITHUB_ACTION_PATH": str(ROOT)}
        self.log = ""

    def filled(self, text):
        def value(match):
            assert match[1] in self.contexts, f"the test does not know {match[1]}"
            return self.contexts[match[1]]

        return re.sub(r"\$\{\{\s*([\w.-]+)\s*\}\}", value, text)

    def run(self, step):
        """The exit code of a step."""
        added = {key: self.filled(str(text)) for key, text in step.get("env", {}).items()}
        written = self.folder / "GITHUB_ENV"
        later = dict(line.split("=", 1) for line in written.read_text().splitlines()) if written.exists() else {}
        done = bash(self.filled(step["run"]), self.home, {**self.environment, **later, **added})
        self.log += done.stdout + done.stderr
        return done.returncode

    def action(self, given):
        """The exit code of action.yml with these inputs."""
        action = yaml.safe_load((ROOT / "action.yml").read_text())
        assert given.keys() <= action["inputs"].keys()
        for name, about in action["inputs"].items():
            assert name in given or not about.get("required"), name
            self.contexts[f"inputs.{name}"] = self.filled(str(given.get(name, about.get("default"))))
        for step in action["runs"]["steps"]:
            code = self.run(step)
            if code:
                return code
        return 0

    def outputs(self):
        return dict(line.split("=", 1) for line in (self.folder / "GITHUB_OUTPUT").read_text().splitlines())


def test_the_action_passes_and_leaves_its_reports(home, environment, tmp_path):
    runner = GitHub(home, environment, {})
    given = {"reference": "reference.yaml", "candidate": "candidate.yaml", "arguments": "--limit 22 --margin 45"}
    assert runner.action(given) == 0, runner.log
    out = home / "evalkit-out"
    assert runner.outputs() == {"verdict": "EQUIVALENT", "exit-code": "0"}
    document = json.loads((out / "comparison.json").read_text())
    assert (document["suites"][0]["n_items"], document["suites"][0]["margin"]) == (22, 0.45)
    assert len(ET.fromstring((out / "junit.xml").read_bytes()).findall(".//testcase")) == 1
    assert (out / "metrics.txt").read_text().endswith("# EOF\n")
    assert "<!DOCTYPE html>" in (out / "report.html").read_text()
    assert "## ✓ evalkit: EQUIVALENT" in (runner.folder / "GITHUB_STEP_SUMMARY").read_text()
    assert (tmp_path / "installed").read_text() == f"-m pip install --quiet {ROOT}\n"


def test_the_action_fails_as_the_verdict_says(home, environment, other_endpoint, spoiled):
    other_endpoint.answer = spoiled
    runner = GitHub(home, environment, {})
    assert runner.action({"reference": "reference.yaml", "candidate": "candidate.yaml", "arguments": "--margin 5"}) == 1
    assert runner.outputs() == {"verdict": "DEGRADED", "exit-code": "1"}
    assert re.search(r"::error title=evalkit%3A GPQA Diamond is DEGRADED \(24 of 198 items\)::", runner.log)
    assert (home / "evalkit-out" / "report.html").exists()
    mistake = {"reference": "nowhere.yaml", "candidate": "candidate.yaml"}
    assert runner.action(mistake) == 2
    assert runner.outputs() == {"verdict": "", "exit-code": "2"}, "a stale comparison is not tonight's"


def test_every_output_of_the_action_is_written_by_its_step():
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    script = next(step["run"] for step in action["runs"]["steps"] if step.get("id") == "compare")
    for output in action["outputs"].values():
        named = re.search(r"steps\.compare\.outputs\.([\w-]+)", output["value"])
        assert named is None or f'echo "{named[1]}=' in script


@pytest.mark.slow
def test_the_workflow(home, environment):
    workflow = yaml.safe_load((CI / "github.yml").read_text())
    (job,) = workflow["jobs"].values()
    contexts = {f"vars.{name}": environment.get(name, f"{name}-1") for name in job["env"]} | {
        "secrets.ENDPOINT_KEY": "k"
    }
    runner = GitHub(home, environment, contexts)
    runner.environment |= {key: runner.filled(text) for key, text in job["env"].items()}
    seen = set()
    for step in job["steps"]:
        if step.get("uses") == "flagos-ai/evalkit@main":
            assert runner.action(step["with"]) == 0, runner.log
        elif "uses" in step:
            seen.add(step["uses"])
            if "upload" in step["uses"]:
                assert all((home / path).exists() for path in step["with"]["path"].split())
        else:
            assert runner.run(step) == 0, runner.log
    assert seen == OF_THE_PLATFORM
    (night,) = read(home / "runs" / "history.jsonl")
    assert night.series == "nightly"
    assert night.facts["candidate.build.image"] == "IMAGE_DIGEST-1"
    assert "night=20" in (home / "runs" / "candidate" / "manifest.jsonl").read_text()
    assert (home / "runs" / "tonight" / "history.html").exists()
    (home / "runs" / "tonight" / "comparison.json").unlink()
    gate = next(step for step in job["steps"] if step.get("name") == "History and gate")
    assert runner.run(gate) == 1
    assert "no comparison was made" in runner.log


class Notes(BaseHTTPRequestHandler):
    """GitLab's interface for notes."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.notes.append((self.path, self.headers["PRIVATE-TOKEN"], body["body"]))
        self.send_response(201)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def gitlab_api():
    server = HTTPServer(("127.0.0.1", 0), Notes)
    server.notes = []
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_the_gitlab_job(home, environment, gitlab_api, tmp_path):
    job = yaml.safe_load((CI / "gitlab.yml").read_text())["evalkit"]
    variables = {
        "GITLAB_CI": "true",
        "CI_API_V4_URL": f"http://127.0.0.1:{gitlab_api.server_address[1]}/api/v4",
        "CI_PROJECT_ID": "7",
        "CI_MERGE_REQUEST_IID": "42",
        "EVALKIT_NOTE_TOKEN": "note-token",
    }
    for part in ("before_script", "script", "after_script"):
        done = bash("\n".join(job[part]), home, {**environment, **variables})
        assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "installed").read_text() == "install --quiet flagos-evalkit\n"
    for path in (*job["artifacts"]["paths"], *job["artifacts"]["reports"].values()):
        assert (home / path).exists(), path
    if shutil.which("curl", path="/usr/bin:/bin"):
        ((path, token, note),) = gitlab_api.notes
        assert (path, token) == ("/api/v4/projects/7/merge_requests/42/notes", "note-token")
        assert note.startswith("## ✓ evalkit: EQUIVALENT")
    without = bash("\n".join(job["after_script"]), home, {**environment, **variables, "CI_MERGE_REQUEST_IID": ""})
    assert without.returncode == 0, without.stderr
    assert len(gitlab_api.notes) <= 1


def cron_job(home):
    """The environment and the command of the crontab, in a home of our own."""
    lines = [line for line in (CI / "crontab").read_text().splitlines() if line and not line.startswith("#")]
    settings = dict(line.split("=", 1) for line in lines[:-1])
    fields = re.fullmatch(r"(\S+) (\S+) (\S+) (\S+) (\S+) evalkit (.+)", lines[-1])
    assert fields is not None
    minute, hour = int(fields[1]), int(fields[2])
    assert (minute, hour, fields.groups()[2:5]) == (0, 2, ("*", "*", "*"))
    return settings, fields[6].replace("/srv/evalkit", str(home))


@pytest.mark.slow
def test_the_night_that_cron_and_systemd_start(home, environment, other_endpoint, spoiled):
    settings, command = cron_job(home)
    assert settings["PATH"].startswith("/srv/evalkit/.venv/bin:")
    done = bash(command, home.parent, environment)
    assert done.returncode == 0, (home / "nightly.log").read_text()
    assert {path.suffix for path in (home / "public").iterdir()} == {".html", ".prom"}
    assert "evalkit_suite_verdict" in (home / "public" / "evalkit.prom").read_text()
    assert len(read(home / "runs" / "history.jsonl")) == 1
    # The next night: the candidate is another, and the reference is not asked again.
    other_endpoint.answer = spoiled
    candidate = home / "candidate.yaml"
    candidate.write_text(candidate.read_text().replace("night=", "night=2-"))
    for pack in (Path(environment["EVALKIT_SUITES"]) / "packs").glob("nightly*.yaml"):  # the night's and the bank's
        pack.write_text(pack.read_text().replace("margin_pt: 40", "margin_pt: 5"))
    service = unit("evalkit-nightly.service")["Service"]
    done = bash(
        service["ExecStart"].replace("/srv/evalkit", str(home)),
        home,
        {**environment, "REFERENCE_URL": "http://127.0.0.1:1/v1"},
    )
    assert done.returncode == 1, done.stdout + done.stderr
    today = date.fromisoformat(read(home / "runs" / "history.jsonl")[-1].night)
    tomorrow = today + timedelta(days=1)  # midnight may pass before the next line runs
    (home / "known-differences.yaml").write_text(
        "".join(
            f"- {{suite: {suite}, from: {today}, until: {tomorrow}, by: Ann, reason: a test}}\n"
            for suite in ("gpqa_diamond", "overall")
        )
    )
    done = bash(str(home / "nightly.sh"), home, environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "DEGRADED (known)" in done.stdout


def unit(name):
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str
    parser.read(CI / "systemd" / name)
    return parser


def test_the_units(home, tmp_path):
    service, timer = unit("evalkit-nightly.service"), unit("evalkit-nightly.timer")
    assert service["Service"]["Type"] == "oneshot"
    assert timer["Timer"]["OnCalendar"] == "*-*-* 02:00:00"
    assert timer["Install"]["WantedBy"] == "timers.target"
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed: the units were only parsed")
    folder = tmp_path / "units"
    folder.mkdir()
    for path in (CI / "systemd").iterdir():
        (folder / path.name).write_text(path.read_text().replace("/srv/evalkit", str(home)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, folder.iterdir())], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_script_is_executable_and_bash_reads_it():
    assert os.access(CI / "nightly.sh", os.X_OK)
    assert subprocess.run(["bash", "-n", str(CI / "nightly.sh")]).returncode == 0
