"""The wheel holds what the checkout holds, and runs where the checkout is not."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (built,) = out.glob("*.whl")
    return built


def test_the_wheel_carries_suites_reports_and_programs(wheel):
    inside = set(zipfile.ZipFile(wheel).namelist())
    shipped = {"suites": "suites", "reports": "reports", "examples/standins": "standins", "benchmarks/bench": "bench"}
    for folder, packed in shipped.items():
        tracked = subprocess.run(["git", "ls-files", folder], cwd=ROOT, capture_output=True, text=True).stdout.split()
        assert tracked
        assert {f"evalkit/_data/{packed}{path.removeprefix(folder)}" for path in tracked} <= inside
    assert "evalkit/py.typed" in inside
    assert any(name.endswith("licenses/LICENSE") for name in inside)
    assert not any("__pycache__" in name for name in inside)
    assert not any(name.startswith(("tests/", "suites/", "runs/")) for name in inside)


def test_the_wheel_runs_in_an_environment_of_its_own_elsewhere(wheel, tmp_path):
    home = tmp_path / "env"
    venv.create(home, with_pip=False)
    (site,) = home.glob("lib/python*/site-packages")
    zipfile.ZipFile(wheel).extractall(site)
    # The dependencies are borrowed; the plain path line does not carry over the development install of evalkit itself.
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("EVALKIT_", "PYTHON"))}
    script = "import evalkit, sys; from evalkit.cli import main; print(evalkit.__file__, file=sys.stderr); main()"
    done = subprocess.run(
        [str(home / "bin" / "python"), "-c", script, "suites", "--json"],
        capture_output=True, text=True, cwd=tmp_path, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert str(home) in done.stderr, "it is the wheel's evalkit that ran"
    suites = json.loads(done.stdout)["suites"]
    assert len(suites) > 8
    assert all(str(home) in suite["file"] for suite in suites)


def test_what_the_installed_package_says_of_itself():
    about = metadata.metadata("flagos-evalkit")
    assert about["License-Expression"] == "Apache-2.0"
    assert about["Requires-Python"] == ">=3.11"
    (script,) = [entry for entry in metadata.entry_points(group="console_scripts") if entry.name == "evalkit"]
    assert script.value == "evalkit.cli:main"
