# make help lists the targets. Everything is installed into .venv; nothing else is touched.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt
# Arguments for pytest, such as ARGS='-k settings'.
ARGS ?=
# One more than there are cores, as many tests mostly wait for a process or a page.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')
BENCH_ARGS ?=
DEMO_ARGS ?=
REPORT = --json bench-reports/$(1).json --html bench-reports/$(1).html

RUNTIME := $(VENV)/.runtime-installed
DEV := $(VENV)/.dev-installed

.DEFAULT_GOAL := help
.PHONY: help run demo test lint bench bench-full clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(RUNTIME) ## install what the service needs, then start it on this machine for trying out
	@echo "Starting penstock serve --dev (Ctrl-C stops it)"
	@exec $(BIN)/penstock serve --dev

demo: $(DEV) ## show the engine at work: two minutes of synthetic patients, then nothing is left
	@exec $(BIN)/penstock demo $(DEMO_ARGS)

test: $(DEV) ## install what the tests need, then run them all (ARGS='-k name' for some)
	@echo "Running the tests, on every core"
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

lint: $(DEV) ## check style, types, and that the generated reference tables are up to date
	@echo "Checking style (ruff)"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@echo "Checking types (mypy, basedpyright)"
	@$(BIN)/mypy
	@$(BIN)/basedpyright
	@echo "Checking the generated reference tables"
	@$(BIN)/penstock reference --check

bench: $(DEV) ## measure the service beside its peers (under two minutes; BENCH_ARGS='--only go')
	@echo "Measuring penstock beside its peers: one table, under two minutes"
	@$(BIN)/penstock bench peers $(BENCH_ARGS)

# A report with faults ends its command with 1; the next one is measured all the same.
bench-full: $(DEV) ## measure peers, scale, capacity and overload at length; reports in bench-reports/
	@mkdir -p bench-reports
	@echo "Measuring at length (about twenty minutes); reports go to bench-reports/"
	-@$(BIN)/penstock bench peers --rounds 7 --seconds 3 $(call REPORT,peers)
	-@$(BIN)/penstock bench scale --repeats 3 $(call REPORT,scale)
	-@$(BIN)/penstock bench capacity --trials 20 $(call REPORT,capacity)
	-@$(BIN)/penstock bench load --sessions 12000 --own-connections --ramp 20 --duration 60 \
	  $(call REPORT,overload)

clean: ## remove what was installed and built (not the data folder)
	rm -rf $(VENV) build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "Penstock needs Python 3.11 or later, and '$(PYTHON)' is not: make PYTHON=python3.12" >&2; \
	    exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(RUNTIME): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing penstock and what it needs into $(VENV)"
	@$(PIP) -e .
	@touch $@

$(DEV): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing penstock and what its tests need into $(VENV)"
	@$(PIP) -e '.[dev,bench]'
	@touch $@ $(RUNTIME)
