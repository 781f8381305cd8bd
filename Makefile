# The verbs of a developer's day. `make demo` and `make test` do everything on a fresh machine with Python 3.11 and git.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The versions that the tests last passed with; `make setup CONSTRAINTS=/dev/null` takes the newest of everything.
CONSTRAINTS ?= constraints.txt
# Many tests start evalkit as a process; images that forbid compiled files would have each compile all of it anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo demo-multimodal test test-slow test-servers coverage check format bench docs docs-commands pictures constraints dist setup clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[demo]' --group dev \
	  || { echo 'not all of $(CONSTRAINTS) is to be had here; the newest that fit are taken'; \
	       $(BIN)/python -m pip install --quiet --editable '.[demo]' --group dev; }
	$(BIN)/python -m pip install --quiet --no-deps 'llama-index-core==0.14.25' # carries the sentence model of LiveBench's rules
	touch $@

demo: setup
	$(BIN)/python examples/demo/demo.py

demo-multimodal: setup
	$(BIN)/python examples/demo/demo.py --pictures

# Three workers on two cores: what a test waits for, another uses. A file's tests stay together, with what they share.
PYTEST = $(BIN)/python -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder

test: setup
	$(PYTEST) -m 'not slow and not llama and not servers'

# What takes more than five seconds: simulations, real models, the browser, the pages of evidence anew.
test-slow: setup
	$(PYTEST) -m 'slow or llama'

# Real servers whose programs the environment names (CONTRIBUTING.md); each that is not named is skipped.
test-servers: setup
	$(BIN)/python -m pytest -q -s tests/servers tests/examine/test_transformers_serve.py

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

# The help of every command, all keys, all reasons; a test says when this is due.
docs-commands: setup
	$(BIN)/python docs/reference.py > docs/commands.md
	$(BIN)/python docs/suite_keys.py
	$(BIN)/python docs/reference_pages.py

# The pictures of README and docs, from the runs of `make demo`; needs chromium and chromedriver.
pictures: demo
	$(BIN)/python examples/demo/pictures.py

# The constraints anew, from what is installed now; `make test` passes first.
constraints: setup
	sed -n '1p' constraints.txt > constraints.new
	$(BIN)/python -m pip freeze --exclude-editable | grep '==' | grep -v '^llama-index' | LC_ALL=C sort -f >> constraints.new
	mv constraints.new constraints.txt

dist: setup
	$(BIN)/python -m build --no-isolation

clean:
	rm -rf build dist site .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
