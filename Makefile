# The verbs of a developer's day. `make demo` and `make test` do everything on a fresh machine with Python 3.11 and git.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo demo-multimodal test test-slow coverage check format bench docs docs-commands pictures dist setup clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable '.[demo]' --group dev
	$(BIN)/python -m pip install --quiet --no-deps 'llama-index-core==0.14.25' # carries the sentence model of LiveBench's rules
	touch $@

demo: setup
	$(BIN)/python examples/demo/demo.py

demo-multimodal: setup
	$(BIN)/python examples/demo/demo.py --pictures

# Three workers on two cores: what a test waits for, another uses. A file's tests stay together, with what they share.
PYTEST = $(BIN)/python -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder

test: setup
	$(PYTEST) -m 'not slow and not llama'

# What takes more than five seconds: simulations, real models, the browser, the pages of evidence anew.
test-slow: setup
	$(PYTEST) -m 'slow or llama'

coverage: setup
	$(PYTEST) --cov evalkit --cov-report term-missing:skip-covered

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports pyproject.toml
	$(BIN)/deptry .
	$(BIN)/codespell evalkit suites reports examples docs action.yml README.md CHANGELOG.md CONTRIBUTING.md

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup
	$(BIN)/python benchmarks/run.py

docs: setup
	$(BIN)/python -m zensical build --strict --clean

# The help of every command; a test says when this is due.
docs-commands: setup
	$(BIN)/python docs/reference.py > docs/commands.md
	$(BIN)/python docs/suite_keys.py

# The pictures of README and docs, from the runs of `make demo`; needs chromium and chromedriver.
pictures: demo
	$(BIN)/python examples/demo/pictures.py

dist: setup
	$(BIN)/python -m build --no-isolation

clean:
	rm -rf build dist site .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
