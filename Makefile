# Every target does its own set-up: a virtual environment in the tree, made again when pyproject.toml changes.
# A machine with make and Python 3.11 (with venv) is enough.

PYTHON ?= python3
# How many run tests at once. More than there are cores pays: much of what tests do is to wait.
WORKERS ?= 1
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help demo test check bench lab confusion format stubs docs wheel clean

help:  ## what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "probemesh needs Python 3.11 or newer; set PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) \
		|| { echo "no venv: on Debian and Ubuntu, apt-get install python3-venv" >&2; rm -rf $(VENV); exit 1; }

$(VENV)/run.stamp: pyproject.toml | $(BIN)/python
	@echo "setting up $(VENV) (once) ..." >&2
	$(PIP) install --editable .
	@touch $@

$(VENV)/dev.stamp: pyproject.toml | $(BIN)/python
	@echo "setting up $(VENV) for development (once) ..." >&2
	$(PIP) install --editable '.[dev]'
	@touch $@ $(VENV)/run.stamp

demo: $(VENV)/run.stamp  ## a controller and three agents on this machine, one probe, what it found
	$(BIN)/meshctl demo

test: $(VENV)/dev.stamp  ## all tests, WORKERS (1) files at once; those that want root or a program say so when skipped
	$(BIN)/pytest --numprocesses $(if $(filter 1,$(WORKERS)),0,$(WORKERS)) $(ARGS)

check: $(VENV)/dev.stamp  ## lint, types, import directions, freshness of what is generated
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python proto/generate.py --check
	$(BIN)/python -m probemesh_controller.schema --check
	$(BIN)/python -m probemesh_controller.reference --check

bench: $(VENV)/dev.stamp  ## the budgets, beside the named peers, in one run
	$(BIN)/python bench/run.py

lab: $(VENV)/dev.stamp  ## what labs there are; LAB=L02 builds that network with its fault, diagnoses it, and stays (root)
	@$(BIN)/python -m tests.lab.run $(LAB) $(ARGS)

confusion: $(VENV)/dev.stamp  ## all labs RUNS times (20), and how often diagnosis is right, into docs/reference (root, hours)
	$(BIN)/python -m tests.lab.confusion $(if $(RUNS),--runs $(RUNS)) $(if $(JOBS),--jobs $(JOBS)) $(ARGS)

format: $(VENV)/dev.stamp  ## put the code into its one format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

stubs: $(VENV)/dev.stamp  ## generate shared/probemesh/v1 from proto/
	$(BIN)/python proto/generate.py

docs: $(VENV)/dev.stamp  ## generate the reference and the JSON Schema from the code
	$(BIN)/python -m probemesh_controller.schema
	$(BIN)/python -m probemesh_controller.reference

wheel: $(BIN)/python  ## dist/probemesh-*.whl, to install on hosts
	$(PIP) wheel --no-deps --wheel-dir dist .
	@ls dist/*.whl

clean:  ## remove the environment and all caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
