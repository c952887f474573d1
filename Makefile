# Everything a checkout needs. Each target sets up .venv by itself; nothing outside this folder is touched.

PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint check bench bench-speed clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## make .venv and install into it what constraints.txt pins (once, and when that changes)

demo: $(STAMP) ## poison a copy of scikit-learn's digits, scan it, compare with the truth; writes demo/
	@$(BIN)/sanitizer demo

test: $(STAMP) ## run the tests; ARGS="-k verify" goes to pytest, ARGS="-m slow" runs the slow ones
	@$(BIN)/python -m pytest $(ARGS)

lint: $(STAMP)
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m ruff format --check .
	@$(BIN)/python -m mypy

check: lint test ## style, types, import law and all quick tests: what a change has to pass

bench: $(STAMP) ## measure detection: attacks x detectors
	@$(BIN)/python -m benchmarks.detection $(ARGS)

bench-speed: $(STAMP) ## measure speed: ratios to other people's software; ARGS="--peers PYTHON" names who has the extra bench
	@$(BIN)/python -m benchmarks.speed $(ARGS)

clean: ## remove caches, builds and the demo's files; .venv stays
	@rm -rf demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find sanitizer detectors tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || { \
	  echo "make: expected Python >= 3.11, $(PYTHON) is $$($(PYTHON) --version 2>&1): name another, as in: make PYTHON=python3.12" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || { \
	  echo "make: $(PYTHON) cannot make a virtual environment: install the venv module of your Python" >&2; exit 1; }
	@echo "Installing into $(VENV) (torch is large: the first time takes minutes)"
	@$(PIP) install "pip>=24.1"
	@$(PIP) install -c constraints.txt -e ".[cpu,dev]"
	@touch $@
	@echo "Installed."
