# Every target does its own set-up: a virtual environment in the tree, made again when what it is made of
# changes. Nothing is installed that supply/*.txt does not name with its hash.
# A machine with make and Python 3.11 (with venv) is enough.

PYTHON ?= python3
# How many run tests at once. More than there are cores pays: much of what tests do is to wait.
WORKERS ?= 3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
LOCKED := $(PIP) install --require-hashes
OURSELVES := $(PIP) install --no-deps --no-build-isolation --editable .

UV := 0.13.9
COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
	--no-annotate --custom-compile-command 'make lock'

.DEFAULT_GOAL := help
.PHONY: help demo test check fuzz bench lab confusion format stubs docs wheel lock clean

help:  ## what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "probemesh needs Python 3.11 or newer; set PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) \
		|| { echo "no venv: on Debian and Ubuntu, apt-get install python3-venv" >&2; rm -rf $(VENV); exit 1; }

$(VENV)/run.stamp: pyproject.toml supply/run.txt supply/build.txt | $(BIN)/python
	@echo "setting up $(VENV) (once) ..." >&2
	$(LOCKED) -r supply/run.txt -r supply/build.txt
	$(OURSELVES)
	$(PIP) check
	@touch $@

$(VENV)/dev.stamp: pyproject.toml supply/dev.txt | $(BIN)/python
	@echo "setting up $(VENV) for development (once) ..." >&2
	$(LOCKED) -r supply/dev.txt
	$(OURSELVES)
	$(PIP) check
	@touch $@ $(VENV)/run.stamp

demo: $(VENV)/run.stamp  ## a controller and three agents on this machine, one probe, what it found
	$(BIN)/meshctl demo

test: $(VENV)/dev.stamp  ## all tests, WORKERS (3) files at once; those that want root or a program say so when skipped
	$(BIN)/pytest --numprocesses $(if $(filter 1,$(WORKERS)),0,$(WORKERS)) $(ARGS)

check: $(VENV)/dev.stamp  ## lint, types, import directions, freshness of what is generated
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python proto/generate.py --check
	$(BIN)/python -m probemesh_controller.schema --check
	$(BIN)/python -m probemesh_controller.reference --check

fuzz: $(VENV)/dev.stamp  ## hunt for bytes that break a reader, FOR (3600) seconds each; ledger and corpus are kept
	nice -n 19 $(BIN)/python -m tests.fuzz.run --seconds $(if $(FOR),$(FOR),3600) --keep .fuzz $(ARGS)

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

wheel: $(VENV)/run.stamp  ## dist/: the wheel to install on hosts, what it needs by hash, and its bill of materials
	rm -rf dist
	$(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist .
	cp supply/run.txt dist/requirements.txt
	$(BIN)/python supply/sbom.py dist/*.whl
	@ls dist/*

lock: $(BIN)/python  ## pin what pyproject.toml asks for, with hashes; ARGS=--upgrade takes the newest
	$(PIP) install uv==$(UV)
	$(COMPILE) --extra dev --group build --output-file supply/dev.txt pyproject.toml $(ARGS)
	$(COMPILE) --constraints supply/dev.txt --output-file supply/run.txt pyproject.toml $(ARGS)
	$(COMPILE) --constraints supply/dev.txt --output-file supply/build.txt --group build $(ARGS)

clean:  ## remove the environment and all caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
