"""README and docs: every command block runs and prints what the page says; help, links and YAML are right; the site builds.

A block fenced with ```console, ```pycon or ```python needs a line `<!-- run: FIXTURE -->` above it; FIXTURE is a key of
FIXTURES here. Blocks of one page with the same fixture run in order in one folder. A line `$ command` must end with 0; the lines below it are
its output, where `...` stands for any lines. What needs a network or a GPU is fenced with ```text.
"""

import doctest
import io
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import commands
import jsonschema
import pytest
import yaml
from markdown_it import MarkdownIt

from evalkit.config import json_schema
from evalkit.config.suite import SuiteFields
from evalkit.publish.cards import BEGIN, END

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "README.zh.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^(?P<indent> *)```(?P<kind>[^\n`]*)\n(?P<body>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
RUN = re.compile(r"<!-- run: (\w+) -->\n\Z")
RUN_KINDS = ("console", "pycon")
QUIET_KINDS = {"text", "yaml", "markdown", "json", "html", "python"}


def blocks(path):
    """Each fenced block: line, kind, body, and the fixture that is named above it."""
    text = path.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        named = RUN.search(text[: match.start()])
        yield text.count("\n", 0, match.start()) + 1, match["kind"].strip(), match["body"], named and named[1]


def test_the_chinese_readme_has_the_commands_verdicts_and_exit_codes_of_the_english_one():
    english, chinese = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh.md"))
    for pattern in (r"^\| `(evalkit [\w-]+)", r"^\| ([A-Z]{6,}).*\| (\d) \|$", r"^(\w+): .*#"):
        found = [re.findall(pattern, text, re.MULTILINE) for text in (english, chinese)]
        assert found[0]
        assert found[0] == found[1]


def test_every_block_says_what_it_is():
    for path in PAGES:
        for line, kind, _body, fixture in blocks(path):
            place = f"{path.name} line {line}"
            if kind in RUN_KINDS:
                assert fixture in FIXTURES, f"{place}: name a fixture above it: <!-- run: {' | '.join(FIXTURES)} -->"
            else:
                assert kind in QUIET_KINDS, (
                    f"{place}: ```{kind}: fence commands with ```console, what cannot run with ```text"
                )
                assert fixture is None or kind == "python", f"{place}: only console, pycon and python are run"


class WithFunctions(yaml.SafeLoader):
    """A loader that takes lm-eval's tag, too."""


WithFunctions.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))


def test_yaml_blocks_are_yaml():
    for path in PAGES:
        for _line, kind, body, _fixture in blocks(path):
            if kind == "yaml":
                assert yaml.load(body, Loader=WithFunctions) is not None


# ---------------------------------------------------------------- the fixtures


@pytest.fixture
def endpoints(endpoint, other_endpoint, answering, invented, tmp_path):
    """Two endpoints, known to the files of `evalkit init` by their variables, and small packs under the usual names."""
    endpoint.answer = other_endpoint.answer = answering(lambda fingerprint: fingerprint == 1)
    packs = tmp_path / "suites" / "packs"
    packs.mkdir(parents=True)
    suite = {"name": "gpqa_diamond", "partial_data": True, "repeats": 1, "margin_pt": 40}
    for name in ("nightly", "flagrelease-text"):
        (packs / f"{name}.yaml").write_text(yaml.safe_dump({"about": "small", "suites": [suite]}))
    return {
        "REFERENCE_URL": endpoint.url,
        "CANDIDATE_URL": other_endpoint.url,
        "EVALKIT_MODEL": "loopback",
        "EVALKIT_DATA": str(invented),
        "EVALKIT_SUITES": str(tmp_path / "suites"),
    }


SETTLED = {"temperature": 0.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}


@pytest.fixture
def stacks(toy, tmp_path):
    """A reference, a faithful port, a broken one, and a server that ignores half of what it is asked."""
    noisy = sys.modules["toy"].Model(noise=0.4)
    servers = {
        "reference": toy("vllm", name="m"),
        "flagos": toy("sglang", name="m"),
        "broken": toy("vllm", name="m", model=noisy),
        "careless": toy("transformers", name="m", faults={"no_logprobs", "no_n", "keeps_stop", "sticky"}),
    }
    for name, server in servers.items():
        endpoint = {"name": name, "base_url": server.url, "model": "m", "sampling": SETTLED}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(endpoint))
    return {}


@pytest.fixture
def flagscale(toy, tmp_path):
    """Two FlagScale serve configurations of servers that run, and the endpoints' files that name them."""
    (tmp_path / "conf").mkdir()
    for name, switch in (("reference", False), ("flagos", True)):
        arguments = {
            "model": "/models/m",
            "served_model_name": "m",
            "port": int(toy("vllm", name="m").url.split(":")[2].split("/")[0]),
        }
        serve = [{"serve_id": "vllm_model", "engine": "vllm", "engine_args": arguments}]
        runner, task = {"deploy": {"use_fs_serve": False}}, {"type": "serve"}
        experiment = {"exp_name": "m", "task": task, "runner": runner, "envs": {"USE_FLAGGEMS": switch}}
        (tmp_path / "conf" / f"{name}.yaml").write_text(yaml.safe_dump({"experiment": experiment, "serve": serve}))
        endpoint = {"name": name, "flagscale": f"conf/{name}.yaml", "sampling": SETTLED}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(endpoint))
    return {}


CARD = """# Acme-7B on {}

| Metrics | Acme-7B-Nvidia-Origin | Acme-7B-{}-FlagOS |
| --- | --- | --- |
| mmmu | {} | {} |
| ERQA | {} | {} |
| AIME24 | {} | 33.33 |
"""


@pytest.fixture
def compared(store, example, tmp_path):
    """A stored comparison that is EQUIVALENT, a README with markers, a style, a template, two published cards."""
    store(example.clean())
    home = tmp_path
    (home / "README.md").write_text(f"# Acme\n\n{BEGIN}\n{END}\n")
    (home / "house.yaml").write_text(yaml_block("cards.md", "extends:"))
    (home / "summary.md.j2").write_text(
        "{% for row in table.rows %}\n- {{ row.label }}: {{ row.change | change }}, {{ row.verdict | verdict(language) }}\n{% endfor %}\n"
    )
    (home / "published").mkdir()
    cards = {
        "Acme-7B-FlagOS": ("Nvidia", 60.89, 57.44, 41.0, 42.5, 36.67),
        "Acme-7B-MetaX-FlagOS": ("MetaX", 57.44, 60.89, 42.5, 41.0, 0),
    }
    for name, (chip, *scores) in cards.items():
        (home / "published" / f"{name}.md").write_text(CARD.format(chip, chip, *scores))
    return {}


@pytest.fixture
def nights(store, story, tmp_path, invoke):
    """Twelve nights, the last of which is still to be added, and the known differences of the page."""
    for one in story[:-1]:
        invoke("history", "add", store(one))
    store(story[-1])
    (tmp_path / "known-differences.yaml").write_text(yaml_block("history.md", "- suite:"))
    return {}


@pytest.fixture
def tables(tmp_path):
    """Score tables of 600 questions asked four times: a reference, an equal, a worse and a partial one; a published table."""

    def write(name, change, seed, lost=0):
        drawn, base = random.Random(seed), random.Random(0)
        rows = [
            f"quiz,q{item:03d},{repeat},{int(drawn.random() < min(1.0, max(0.0, chance + change)))}"
            for item, chance in enumerate(base.random() for _ in range(600 - lost))
            for repeat in range(4)
        ]
        (tmp_path / f"{name}.csv").write_text("\n".join(["suite,item,repeat,score", *rows]) + "\n")

    for seed, (name, change, lost) in enumerate(
        (("reference", 0.0, 0), ("candidate", 0.0, 0), ("broken", -0.08, 0), ("partial", 0.0, 100)), 1
    ):
        write(name, change, seed, lost)
    published = "4B,AIME,30,,.700,.767", "4B,MMLU,14042,,66.9,67.3", "30B,MMLU,14042,1,.669,.758"
    (tmp_path / "published.csv").write_text("\n".join(["card,metric,n,k,reference,candidate", *published]) + "\n")
    return {}


@pytest.fixture
def own_suite(toy, tmp_path):
    """The files that the page on suites shows, and an endpoint that is asked for that suite."""
    for name, kind in (("words.yaml", "yaml"), ("words.py", "python"), ("words.jsonl", "json")):
        written = (ROOT / "examples" / "suites" / name).read_text(encoding="utf-8")
        body = next(b for _l, k, b, _n in blocks(ROOT / "docs" / "suites.md") if k == kind and b == written)
        (tmp_path / name).write_text(body)
    endpoint = {"name": "reference", "base_url": toy("vllm", name="m").url, "model": "m", "suite_folders": ["."]}
    (tmp_path / "reference.yaml").write_text(yaml.safe_dump({**endpoint, "suites": ["words"]}))
    return {}


def yaml_block(page, beginning):
    """A YAML block of a page, so that what the page shows is what its commands use."""
    return next(b for _l, kind, b, _f in blocks(ROOT / "docs" / page) if kind == "yaml" and b.startswith(beginning))


FIXTURES = ("own_suite", "endpoints", "compared", "nights", "stacks", "flagscale", "tables")
JOBS = [
    pytest.param(path, fixture, id=f"{path.stem}-{fixture}")
    for path in PAGES
    for fixture in FIXTURES
    if any(named == fixture for _line, _kind, _body, named in blocks(path))
]


@pytest.mark.parametrize(("path", "fixture"), JOBS)
def test_the_commands_of_a_page(path, fixture, request, tmp_path, monkeypatch):
    more = request.getfixturevalue(fixture)
    environment = shell_environment(tmp_path, more)
    names = {}
    for line, kind, body, named in blocks(path):
        if kind in {"pycon", "python"} and named == fixture:
            for name, value in more.items():
                monkeypatch.setenv(name, value)
            monkeypatch.chdir(tmp_path)
            run_python(kind, body, names, f"{path.name} line {line}")
        if kind == "console" and named == fixture:
            for command, expected in shown(body):
                place = f"{path.name} line {line}: $ {command}"
                done = run(command, tmp_path, environment)
                assert done.returncode == 0, f"{place}\n{done.stdout}"
                assert matches(expected, done.stdout), f"{place}\n{done.stdout}"


def run(command, folder, environment):
    """Runs a command as a shell does; a plain `evalkit ...` in this process, which saves a start."""
    if command.startswith("evalkit ") and not set(command) & set("$`|&;<>*?~\\\n"):
        return commands.run_here(*shlex.split(command)[1:], cwd=folder, environment=environment, merged=True)
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", command],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900,
    )  # fmt: skip


def run_python(kind, body, names, place):
    """Runs a session as Python prints it, or a file of tests; blocks of a page share their names."""
    if kind == "python":
        exec(compile(body, place, "exec"), names)
        for name, value in list(names.items()):
            if name.startswith("test_"):
                value()
        return
    test = doctest.DocTestParser().get_doctest(body, names, place, place, 0)
    told = io.StringIO()
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(test, out=told.write, clear_globs=False)
    assert runner.failures == 0, told.getvalue()
    names.update(test.globs)


def shell_environment(folder, more):
    """A clean shell in which `evalkit` is this checkout's."""
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    (bin_folder / "evalkit").write_text(f'#!/bin/sh\nexec {sys.executable} -m evalkit "$@"\n')
    (bin_folder / "evalkit").chmod(0o755)
    kept = {
        key: value
        for key, value in os.environ.items()
        if key == "EVALKIT_CACHE" or not key.startswith(("EVALKIT_", "HF_", "GITHUB_", "GITLAB_"))
    }
    path = f"{bin_folder}:{Path(sys.executable).parent}:/usr/bin:/bin"
    return kept | {"PATH": path, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "COLUMNS": "80", **more}


def shown(body):
    """The commands of a block with the output that is shown below each."""
    parts = re.split(r"^\$ ", body, flags=re.MULTILINE)
    assert parts[0] == "", "a console block begins with `$ `"
    for part in parts[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def matches(expected, output):
    """True where the output is as shown; `...` stands for any lines, and no output shown means: any."""
    if not expected:
        return True
    lines = [line.rstrip() for line in expected.splitlines()]
    pattern = "".join(r"(?:.*\n)*?" if line == "..." else re.escape(line) + r"\n" for line in lines)
    return re.fullmatch(pattern, "".join(f"{line.rstrip()}\n" for line in output.splitlines())) is not None


@pytest.mark.parametrize(
    ("expected", "output", "same"),
    [
        ("a\nb\n", "a\nb\n", True),
        ("a\n...\n", "a\nb\nc\n", True),
        ("...\nc\n...\n", "a\nb\nc\n", True),
        ("a\n", "a\nb\n", False),
        ("...\nx\n", "a\nb\n", False),
        ("", "a\n", True),
    ],
)
def test_the_runner_itself(expected, output, same):
    assert matches(expected, output) is same


# ---------------------------------------------------------------- help, keys, links, site


def test_the_page_on_suites_has_every_key_of_the_schema():
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        import suite_keys
    finally:
        sys.path.remove(str(ROOT / "docs"))
    written = (ROOT / "docs" / "suites.md").read_text(encoding="utf-8")
    assert written == suite_keys.page(), "docs/suites.md is old: `make docs-commands` writes its tables anew"
    assert all(f"| `{key}` |" in written for key in SuiteFields.model_fields)


def test_the_pages_of_keys_and_of_reasons_are_whole_and_their_examples_right():
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        import reference_pages as pages
    finally:
        sys.path.remove(str(ROOT / "docs"))
    for name, page in pages.PAGES.items():
        written = (ROOT / "docs" / name).read_text(encoding="utf-8")
        assert written == page(), f"docs/{name} is old: `make docs-commands` writes it anew"
    schema = json_schema()
    assert schema["$defs"].keys() == pages.SECTIONS.keys() | pages.SAME
    for _where, example in pages.SECTIONS.values():
        whole = {"name": "a", "base_url": "http://a/v1", "model": "m", "suites": ["aime24"], **yaml.safe_load(example)}
        jsonschema.validate(whole, schema)


def test_the_page_of_commands_is_what_help_prints():
    told = subprocess.run([sys.executable, ROOT / "docs" / "reference.py"], capture_output=True, text=True, check=True)
    written = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert written == told.stdout, "docs/commands.md is old: `make docs-commands` writes it anew"


def test_every_rule_of_the_card_check_is_in_its_page():
    from evalkit.publish.cards import own_data

    page = (ROOT / "docs" / "cards.md").read_text(encoding="utf-8")
    for rule, meaning in own_data("card_rules").items():
        assert f"| `{rule}` | {meaning} |" in page


def test_every_style_is_in_its_page():
    from evalkit.publish.cards import style_names

    page = (ROOT / "docs" / "cards.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in page for name in style_names())


HOME = re.compile(r"https://github\.com/flagos-ai/evalkit/(?:tree|blob)/main/")
PROSE = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "examples").rglob("README.md"))]


def links(path):
    """(line, target) of every link and picture of a Markdown file, code left out."""
    for token in MarkdownIt("commonmark").enable("table").parse(path.read_text(encoding="utf-8")):
        for child in token.children or ():
            target = child.attrGet("href") or child.attrGet("src")
            if target:
                yield (token.map or [0])[0] + 1, target


def anchors(path):
    """What a link into a page may name: its headings as GitHub and the site write them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(path):
    """Every link of a page that leads nowhere."""
    for line, target in links(path):
        inside = HOME.sub("", target)
        if "://" in inside or inside.startswith("mailto:"):
            continue
        name, _, anchor = inside.partition("#")
        base = ROOT if inside != target else path.parent
        to = (base / name).resolve() if name else path
        if not to.exists() or (anchor and anchor not in anchors(to)):
            yield f"{path.relative_to(ROOT)} line {line}: {target}"
        elif path.parent == ROOT / "docs" and inside == target and not to.is_relative_to(ROOT / "docs"):
            yield f"{path.relative_to(ROOT)} line {line}: {target} is not part of the site: link to GitHub"


@pytest.mark.parametrize("path", PROSE, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    assert list(broken(path)) == []


def test_every_page_is_reached_from_the_index():
    reached, waiting = set(), [ROOT / "docs" / "index.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        found = [(page.parent / target.partition("#")[0]).resolve() for _line, target in links(page)]
        waiting += [one for one in found if one.suffix == ".md" and one.exists() and one not in reached]
    lost = sorted(path.name for path in {*(ROOT / "docs").glob("*.md")} - reached)
    assert lost == [], "link them in docs/index.md"


def test_a_link_that_leads_nowhere_is_found(monkeypatch, tmp_path):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("# Title of it\n")
    page = tmp_path / "docs" / "page.md"
    page.write_text("[a](gone.md) [b](#nowhere) [c](#a-heading) ![d](../README.md)\n\n# A heading\n\n`[e](gone.md)`\n")
    assert [one.split(": ", 1)[1].split(" is")[0] for one in broken(page)] == ["gone.md", "#nowhere", "../README.md"]
    page.write_text("[a](https://github.com/flagos-ai/evalkit/blob/main/README.md#title-of-it) [b](https://x.org)\n")
    assert list(broken(page)) == []


def test_pictures_are_small_and_ask_for_nothing():
    pictures = sorted((ROOT / "docs" / "pictures").iterdir())
    assert {"table.svg", "report.png", "flips.png"} <= {path.name for path in pictures}
    for path in pictures:
        data = path.read_bytes()
        assert len(data) < 300_000, path
        if path.suffix == ".svg":
            assert set(re.findall(rb"https?://[^\"' )]+", data)) <= {
                b"http://www.w3.org/2000/svg",
                b"https://www.textualize.io",
            }
            assert b"@font-face" not in data
            assert b"<script" not in data


def test_the_site_builds_without_a_warning_and_asks_for_nothing(tmp_path):
    pytest.importorskip("zensical", reason="zensical is not installed (dependency group docs)")
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) >= len(PAGES) - 1
    for page in pages:
        loads = re.findall(r'<(?:script|link|img|iframe)[^>]*?(?:src|href)="((?:https?:)?//[^"]+)"', page.read_text())
        assert loads == [], page
