"""The wheel holds what the checkout holds, and runs where the checkout is not."""

import json
import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import evalkit

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
    assert {"evalkit/py.typed", "evalkit/__init__.pyi"} <= set(inside)
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


def test_the_constraints_name_every_dependency_with_a_version_that_the_project_allows():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()[1:]
    pinned = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}
    assert all(pinned.values()), "names and versions only"
    wanted = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["demo"],
        *(one for group in project["dependency-groups"].values() for one in group if isinstance(one, str)),
    ]
    for requirement in map(Requirement, wanted):
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), str(requirement)


@pytest.mark.parametrize(
    ("file", "schema"),
    [
        (file, schema)
        for folder, schema in (("workflows", "github-workflows"), ("ISSUE_TEMPLATE", "github-issue-forms"))
        for file in sorted((ROOT / ".github" / folder).glob("*.yml"))
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_what_the_platform_reads_is_as_its_schema_says(file, schema):
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", str(file)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_a_release_is_made_of_the_version_that_its_tag_names():
    steps = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())["jobs"]["build"]["steps"]
    (check,) = (step["run"] for step in steps if "GITHUB_REF_NAME" in step.get("run", ""))
    for tag, code in ((f"v{evalkit.__version__}", 0), ("v0.0.0", 1)):
        done = subprocess.run(["bash", "-c", check], cwd=ROOT, env={**os.environ, "GITHUB_REF_NAME": tag})
        assert done.returncode == code


def test_the_image_copies_what_the_wheel_is_built_from():
    ignored = (ROOT / ".dockerignore").read_text().split()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    targets = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = [
        *targets["packages"],
        *targets["force-include"],
        project["project"]["readme"],
        "constraints.txt",
        "LICENSE",
    ]
    assert not {Path(one).parts[0] for one in needed} & set(ignored)
    assert "USER evalkit" in (ROOT / "Dockerfile").read_text()
