"""`evalkit bisect` with a stand-in server whose operators are switches: guilty ones shift its logits or end it."""

import json
import sys
from pathlib import Path

import pytest

from evalkit.examine.bisect import most_tests

SUPPORT = Path(__file__).resolve().parents[1] / "support"

# The operators that are on come from the environment, or from an argument; what each does from a file.
SERVER = """
import json, os, signal, sys
sys.path.insert(0, sys.argv[2])
from toy import Model, Toy
listed = [name for argument in sys.argv[3:] for name in argument.removeprefix("--ops=").split(",") if name]
on = set(listed or [name for name in os.environ.get("OPS_ON", "").split(",") if name])
if "OPS_OFF" in os.environ:
    on = {f"op{n:03}" for n in range(int(os.environ["OPS"]))} - set(os.environ["OPS_OFF"].split(","))
faults = json.loads(os.environ["FAULTS"])
open(os.environ["STARTS"], "a").write(f"{len(on)}\\n")
if on & set(faults.get("crash", ())):
    print("Triton Error [CUDA]: an illegal memory access was encountered", flush=True)
    os._exit(9)
noise = 0.4 if on & set(faults.get("noisy", ())) or set(faults.get("together", ["-"])) <= on else 0.0
server = Toy("vllm", model=Model(noise=noise), port=int(sys.argv[1]))
signal.pause()
"""


@pytest.fixture
def bench(tmp_path, run_evalkit):
    (tmp_path / "server.py").write_text(SERVER)

    def write(name, argv=(), **env):
        launch = {
            "kind": "command",
            "argv": [sys.executable, str(tmp_path / "server.py"), "{port}", str(SUPPORT), *argv],
            "env": {"STARTS": str(tmp_path / f"{name}.starts"), "FAULTS": "{}", **env},
            "ready_seconds": 60,
        }
        document = {"name": name, "model": "toy", "runs": str(tmp_path / "runs"), "suites": ["demo"], "launch": launch}
        (tmp_path / f"{name}.yaml").write_text(json.dumps(document))

    def run(*arguments, count=400, **faults):
        write("ref")
        env = {"FAULTS": json.dumps(faults), "OPS": str(count)}
        write("cand", ("--ops=",) if "launch.argv" in " ".join(arguments) else (), **env)
        (tmp_path / "ops.txt").write_text("# all of them\n" + "\n".join(f"op{n:03}" for n in range(count)))
        given = ("bisect", "ref.yaml", "cand.yaml", "--operators", "@ops.txt", "--prompts", "8", "--tokens", "48")
        return run_evalkit(*given, *arguments, cwd=tmp_path)

    run.folder = tmp_path
    return run


def starts(folder, name="cand"):
    return (folder / f"{name}.starts").read_text().split()


ON = ("--on", "launch.env.OPS_ON")


@pytest.mark.parametrize("more", [(), ("--at-once", "3")], ids=["in turn", "at once"])
def test_guilty_switches_are_found_with_servers_that_are_restarted(bench, more):
    """Among 400 they are found in tests/examine/test_bisect_probes.py, without processes."""
    done = bench(*ON, *more, "--json", count=8, noisy=["op005"])
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    assert [one["on"] for one in told["culprits"]] == [["op005"]]
    assert told["complete"]
    assert all(one["verdict"] == "DEGRADED" and one["k3"] > 0.01 for one in told["culprits"])
    if not more:
        assert len(starts(bench.folder)) == told["asked"] == told["probes"] <= most_tests(8, 1)
    assert len(starts(bench.folder, "ref")) == 1


def test_a_crash_is_guilt_and_says_its_cause(bench):
    done = bench("--off", "launch.env.OPS_OFF", count=3, crash=["op001"])
    assert done.returncode == 1
    assert "op001 (alone): crash: " in done.stdout
    assert "ended with exit code 9" in done.stdout
    assert "an illegal memory access was encountered" in done.stdout
    assert "the other 2 operators on together: EQUIVALENT" in done.stdout


def test_an_interrupted_bisect_goes_on_where_it_was(bench):
    first = bench(*ON, "--json", count=3, noisy=["op002"])
    before = len(starts(bench.folder))
    folder = bench.folder / "runs" / "ref--cand-bisect"
    kept = sorted(folder.glob("probe-*.json"))
    kept[0].unlink()
    again = bench(*ON, "--json", count=3, noisy=["op002"])
    assert len(starts(bench.folder)) == before + 1
    assert json.loads(again.stdout)["asked"] == 1
    assert json.loads(again.stdout)["culprits"][0]["on"] == json.loads(first.stdout)["culprits"][0]["on"] == ["op002"]
    assert len(starts(bench.folder, "ref")) == 1


def test_switches_in_an_argument_and_operators_that_fail_only_together(bench):
    done = bench("--on", "launch.argv.4=--ops={}", count=3, together=["op000", "op002"])
    assert done.returncode == 1, done.stderr
    assert "op000 + op002 (only together): DEGRADED" in done.stdout


def test_a_candidate_without_a_guilty_operator(bench):
    done = bench(*ON, count=2)
    assert (done.returncode, "nothing is guilty" in done.stdout) == (0, True)


def test_a_folder_of_another_bisect_is_refused(bench):
    assert bench(*ON, count=2).returncode == 0
    done = bench(*ON, "--tokens", "40", count=2)
    assert done.returncode == 2
    assert "name another with --out" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give --on KEY"),
        ((*ON, "--off", "launch.env.OPS_OFF"), "one of the two"),
        (("--on", "launch.argv.4=--ops="), "needs {}"),
    ],
)
def test_switches_that_cannot_be(bench, arguments, words):
    done = bench(*arguments, count=2)
    assert done.returncode == 2
    assert words in done.stderr
