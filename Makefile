# Two commands matter: `make demo` and `make test`. Both need Python 3.11 or newer and nothing else.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo-report

.PHONY: demo test test-full lint docs docs-serve benchmark schema clean

demo: $(VENV)/.ready
	$(BIN)/veritem demo -o $(DEMO)

test: $(VENV)/.ready-dev lint
	$(BIN)/python -m pytest -rs

lint: $(VENV)/.ready-dev
	$(BIN)/ruff check src tests benchmarks docs
	$(BIN)/ruff format --check src tests benchmarks docs
	$(BIN)/mypy

# The long tier: calibrations and simulations that take hours in all.
test-full: $(VENV)/.ready-dev
	$(BIN)/python -m pytest -m full

docs: $(VENV)/.ready-docs
	$(BIN)/python docs/generate.py
	$(BIN)/mkdocs build --strict

docs-serve: $(VENV)/.ready-docs
	$(BIN)/python docs/generate.py
	$(BIN)/mkdocs serve

benchmark: $(VENV)/.ready
	$(BIN)/python benchmarks/level_0.py
	$(BIN)/python benchmarks/level_1.py

clean:
	rm -rf $(VENV) $(DEMO) site

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Found no Python 3.11 or newer. Install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.ready: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.ready-dev: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.ready

$(VENV)/.ready-docs: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@
