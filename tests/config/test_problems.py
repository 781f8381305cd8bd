"""Every mistake in a file is one sentence: file, line, key, what is wrong, what was probably meant."""

import pytest

MISTAKES = [
    ("nam: x", "ref.yaml:4: unknown key 'nam': did you mean 'name'?"),
    ("api_key: sk-abcdefgh", "ref.yaml:4: unknown key 'api_key': did you mean 'api_key_env'?"),
    ("temperature: 0.6", "ref.yaml:4: unknown key 'temperature': did you mean 'sampling.temperature'?"),
    ("concurency: 5", "ref.yaml:4: unknown key 'concurency': did you mean 'limits.concurrency'?"),
    ("extend: x.yaml", "ref.yaml:4: unknown key 'extend': did you mean 'extends'?"),
    ("sampling:\n  temprature: 1", "ref.yaml:5: unknown key 'temprature' in sampling: did you mean 'temperature'?"),
    ("limits:\n  connections: 5", "ref.yaml:5: unknown key 'connections' in limits: did you mean 'concurrency'?"),
    ("limits:\n  timeout: 5", "ref.yaml:5: unknown key 'timeout' in limits: did you mean 'total_seconds'?"),
    ("num_concurrent: 5", "ref.yaml:4: unknown key 'num_concurrent': did you mean 'limits.concurrency'?"),
    ("sampling:\n  retries: 1", "ref.yaml:5: unknown key 'retries' in sampling: did you mean 'limits.retries'?"),
    ("tls:\n  zzz: 1", "ref.yaml:5: unknown key 'zzz' in tls: the keys here are ca_file, verify"),
    (
        "suites:\n  - mmlu\n  - name: x\n    limt: 3",
        "ref.yaml:7: unknown key 'limt' in suites.1: did you mean 'limit'?",
    ),
    (
        "suites:\n  - name: x\n    sampling: {temprature: 3}",
        "ref.yaml:6: unknown key 'temprature' in suites.0.sampling: did you mean 'temperature'?",
    ),
    (
        "launch:\n  kind: command\n  argv: [x]\n  redy_seconds: 3",
        "ref.yaml:7: unknown key 'redy_seconds' in launch: did you mean 'ready_seconds'?",
    ),
    ("launch:\n  kind: vllm", "ref.yaml:5: launch.kind: must be llama_cpp, ocr, command or flagscale, not 'vllm'"),
    ("launch:\n  argv: [x]", "ref.yaml:4: launch.kind is missing: it is llama_cpp, ocr, command or flagscale"),
    ("launch:\n  kind: command\n  argv: vllm serve", "ref.yaml:6: launch.argv: must be a list"),
    ("limits:\n  concurrency: many", "ref.yaml:5: limits.concurrency: must be an integer, not 'many'"),
    ("limits:\n  concurrency: 1.5", "ref.yaml:5: limits.concurrency: must be an integer, not 1.5"),
    ("limits:\n  concurrency: yes", "ref.yaml:5: limits.concurrency: must be a number, not true"),
    ("limits:\n  concurrency: [1]", "ref.yaml:5: limits.concurrency: must be an integer, not a list"),
    ("limits:\n  concurrency:", "ref.yaml:5: limits.concurrency: must be an integer, not empty"),
    ("limits:\n  retries: -1", "ref.yaml:5: limits.retries: must be at least 0, not -1"),
    ("limits:\n  stall_seconds: 0", "ref.yaml:5: limits.stall_seconds: must be greater than 0, not 0"),
    ("limits:\n  stall_seconds: .inf", "ref.yaml:5: limits.stall_seconds: must be a finite number, not inf"),
    ("sampling:\n  seed: 5000000000", "ref.yaml:5: sampling.seed: must be less than 2147483648, not 5000000000"),
    ("limits: 5", "ref.yaml:4: limits: must be a mapping, not 5"),
    ("stream: maybe", "ref.yaml:4: stream: must be true or false, not 'maybe'"),
    ("client: requests", "ref.yaml:4: client: must be 'aiohttp' or 'openai', not 'requests'"),
    ("build: 1.10", "ref.yaml:4: build: must be text, not 1.1: put quotes around it"),
    ("build: yes", "ref.yaml:4: build: must be text, not true: put quotes around it"),
    ("build: ''", "ref.yaml:4: build: must not be empty, not ''"),
    ("suites: mmlu", "ref.yaml:4: suites: must be a list, not 'mmlu'"),
    ("suites: [5]", "ref.yaml:4: suites.0: must be a mapping, not 5"),
    ("data: [a]", "ref.yaml:4: data: must be the path of a file or folder, not a list"),
    ("data:\n  mmlu: [a]", "ref.yaml:5: data.mmlu: must be the path of a file or folder, not a list"),
    ("thinking:\n  closing_tags: []", "ref.yaml:5: thinking.closing_tags: must have at least one entry"),
    ("sampling:\n  extra_body:\n    x: .nan", "ref.yaml:6: sampling.extra_body.x: must be a finite number, not nan"),
    (
        "sampling:\n  profile: qwen4",
        "ref.yaml:5: sampling.profile: must be 'qwen3_thinking', 'qwen3_nothink' or 'greedy', not 'qwen4'",
    ),
    ("judge:\n  model: x", "ref.yaml:4: judge.base_url is missing: address of the judge up to and including /v1"),
    ("base_urls: [http://a/v1]", "ref.yaml:2, ref.yaml:4: base_url and base_urls exclude each other"),
    ("suites: [a, b, a]", "ref.yaml:4: suites holds 'a' twice"),
    (
        "tls:\n  verify: no\n  ca_file: x",
        "ref.yaml:6, ref.yaml:5: tls: ca_file has no effect while verify is false",
    ),
    (
        "api_key_env: sk-abcdefgh",
        "ref.yaml:4: api_key_env: must be the name of an environment variable; the key itself never goes into the file",
    ),
    ("headers:\n  A: 1.5", "ref.yaml:5: headers.A: must be text: put quotes around it"),
]


@pytest.mark.parametrize(("added", "message"), MISTAKES)
def test_one_mistake_is_one_sentence(problem, smallest, added, message):
    assert problem(smallest + added + "\n") == message


def test_missing_keys_say_what_they_are_for(problem):
    assert problem("build: x\n").splitlines() == [
        "ref.yaml: model is missing: the name by which the server knows the model",
        "ref.yaml: name is missing: name of this side",
    ]


def test_all_mistakes_are_told_in_the_order_of_the_file(problem, smallest):
    text = smallest + "stream: maybe\nlimits:\n  retries: -1\n  oops_retries: 2\nclient: x\n"
    lines = problem(text).splitlines()
    assert [line.split(":")[1] for line in lines] == ["4", "6", "7", "8"]


def test_a_long_list_of_mistakes_is_cut(problem, smallest):
    lines = problem(smallest + "".join(f"qqq{i}: 1\n" for i in range(30))).splitlines()
    assert len(lines) == 21
    assert lines[-1] == "... and 10 more"


def test_a_mistake_in_the_shared_file_names_the_shared_file(folder, problem, smallest):
    (folder / "common.yaml").write_text("limits:\n  retries: -1\n")
    assert problem("extends: common.yaml\n" + smallest) == "common.yaml:2: limits.retries: must be at least 0, not -1"


def test_a_conflict_between_files_names_both(folder, problem, smallest):
    (folder / "common.yaml").write_text("base_urls: [http://a/v1]\n")
    message = problem("extends: common.yaml\n" + smallest)
    assert message == "ref.yaml:3, common.yaml:1: base_url and base_urls exclude each other"


def test_no_message_shows_a_secret(problem, smallest):
    texts = [
        "headers:\n  Authorization: [hunter22]\n",
        "headers: {Authorization: {x: hunter22}}\n",
        "api_key: hunter22\n",
        "launch:\n  kind: command\n  argv: hunter22\n",
        "launch:\n  kind: command\n  argv: [x]\n  env: {HF_TOKEN: [hunter22]}\n",
        "base_urls: ['ftp://bob:hunter22@host']\n",
    ]
    for text in texts:
        assert "hunter22" not in problem(smallest + text)


def test_a_secret_variable_in_the_wrong_place_is_not_shown(problem, smallest, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "sk-hunter22")
    assert (
        problem(smallest + "client: ${SOME_API_KEY}\n")
        == "ref.yaml:4: client: must be 'aiohttp' or 'openai', not '***'"
    )


def test_a_long_value_is_cut(problem, smallest):
    assert len(problem(smallest + f"client: {'x' * 5000}\n")) < 200
