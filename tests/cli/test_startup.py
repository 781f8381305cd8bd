"""Start-up time is a promise: `--help` imports nothing heavy, and a run does not index lm-eval's own tasks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from evalkit.cli.app import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {
    "lm_eval",
    "datasets",
    "pandas",
    "scipy",
    "numpy",
    "openai",
    "aiohttp",
    "pydantic",
    "torch",
    "transformers",
    "rich",
}


def modules_after(code):
    script = f"import sys\n{code}\nprint(' '.join(sorted({{name.split('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_help_imports_nothing_heavy():
    code = "import evalkit.cli as m\nsys.argv = ['evalkit', '--help']\ntry:\n    m.main()\nexcept SystemExit as e:\n    assert e.code == 0"
    assert not modules_after(code) & HEAVY


@pytest.mark.parametrize("name", list(COMMANDS))
def test_the_help_of_a_command_imports_nothing_heavy(name):
    code = f"import evalkit.cli as m\nsys.argv = ['evalkit', {name!r}, '--help']\ntry:\n    m.main()\nexcept SystemExit as e:\n    assert e.code == 0"
    assert not modules_after(code) & (HEAVY - {"pydantic"})


def test_a_run_never_indexes_lm_evals_own_tasks(endpoint, config, tmp_path):
    path = config("ref", endpoint.url)
    code = f"""
import os
os.environ["EVALKIT_CACHE"] = {str(tmp_path / "cache")!r}
import lm_eval.tasks._index as index
seen = []
original = index.TaskIndex._iter_yaml_files
index.TaskIndex._iter_yaml_files = staticmethod(lambda root: seen.append(root) or original(root))
from click.testing import CliRunner
from evalkit.cli.app import cli
result = CliRunner().invoke(cli, ["run", {str(path)!r}, "--limit", "1", "--quiet"], standalone_mode=False)
assert result.exception is None, result.exception
assert not seen, seen
"""
    modules_after(code)
    assert len(endpoint.requests) == 1


def test_a_run_whose_prompts_were_built_before_imports_no_lm_eval(endpoint, config, tmp_path):
    path = config("ref", endpoint.url)
    code = f"""
import os
os.environ["EVALKIT_CACHE"] = {str(tmp_path / "cache")!r}
from click.testing import CliRunner
from evalkit.cli.app import cli
result = CliRunner().invoke(cli, ["run", {str(path)!r}, "--limit", "1", "--quiet"], standalone_mode=False)
assert result.exception is None, result.exception
"""
    assert "lm_eval" in modules_after(code)
    assert not modules_after(code) & {"lm_eval", "datasets", "pandas", "jinja2", "huggingface_hub", "scipy"}


def test_an_unknown_command_names_the_nearest(run_evalkit):
    done = run_evalkit("compair")
    assert done.returncode == 2
    assert "did you mean 'compare'?" in done.stderr


def test_version_and_module_entry(run_evalkit):
    from evalkit import __version__

    assert run_evalkit("--version").stdout.strip().endswith(__version__)


@pytest.mark.parametrize("entry", [["-m", "evalkit"], ["-c", "from evalkit.cli import main; main()"]])
def test_ctrl_c_during_the_imports_is_quiet(entry, tmp_path):
    (tmp_path / "click.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\n")
    (tmp_path / "sitecustomize.py").write_text(
        "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a job in the background ignores it
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", ""), str(ROOT)])
    done = subprocess.run(
        [sys.executable, *entry, "--version"], capture_output=True, text=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
