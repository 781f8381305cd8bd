"""`evalkit plan` says what can be decided before anything is asked."""

MANY = {"name": "mmlu_gen_5shot", "partial_data": True}


def test_a_plan_asks_nothing_and_says_which_gates_cannot_decide(endpoint, other_endpoint, config, run_evalkit):
    suites = [{**MANY, "margin_pt": 2}, {"name": "aime24", "partial_data": True, "margin_pt": 1}]
    ref, cand = config("ref", endpoint.url, suites), config("cand", other_endpoint.url, suites)
    done = run_evalkit("plan", ref, cand)
    assert done.returncode == 4, done.stderr
    assert "cannot decide" in " ".join(done.stdout.split())
    assert not endpoint.requests
    assert not other_endpoint.requests


def test_gates_that_can_all_decide_exit_0(endpoint, other_endpoint, config, run_evalkit):
    suites = [{**MANY, "margin_pt": 5}]
    ref, cand = config("ref", endpoint.url, suites), config("cand", other_endpoint.url, suites)
    done = run_evalkit("plan", ref, cand)
    assert done.returncode == 0, done.stdout
    assert "14,042" in done.stdout
