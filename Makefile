# Sets up everything it needs in .venv, from a bare clone; `make help` says what
# there is. Another Python: make test PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
HUMAN := .venv-human
SUDO := $(if $(filter-out 0,$(shell id -u)),sudo)
# Without compiling all of jax and scipy ahead: what is imported compiles itself.
PIP := $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check

# Containers tell Python to keep no compiled modules: each of the hundreds of processes
# that tests start would compile all of jax for itself.
unexport PYTHONDONTWRITEBYTECODE

# Threads of small solves wait for each other on few cores.
export OPENBLAS_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test validate bench docs lint clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.server ## recover the biases of simulated subjects, with controls
	PATH="$(CURDIR)/$(BIN):$$PATH" sh examples/demo.sh

test: lint $(VENV)/.services $(HUMAN)/.ready ## lint, then all tests but the slow ones
	$(BIN)/pytest --numprocesses auto --dist loadfile --no-loadscope-reorder \
		--max-worker-restart 0

validate: $(VENV)/.services $(HUMAN)/.ready ## slow checks: science, and chaos
	$(BIN)/pytest -m slow --timeout 7200

bench: $(VENV)/.services $(VENV)/.bench $(HUMAN)/.ready ## run every benchmark
	$(BIN)/python -m benchmarks.evaluations
	$(BIN)/python -m benchmarks.whole_studies
	$(BIN)/python -m benchmarks.cluster
	$(BIN)/python benchmarks/six_components.py
	$(BIN)/python benchmarks/plot_six_components.py
	$(BIN)/python benchmarks/sessions_to_recovery.py
	$(BIN)/python benchmarks/plot_sessions_to_recovery.py
	$(BIN)/python -m benchmarks.calibration --refit
	$(BIN)/python -m benchmarks.false_alarms
	$(BIN)/python benchmarks/trial_latency.py
	$(BIN)/python benchmarks/hybrid.py kernel basis
	$(BIN)/python -m benchmarks.server
	$(BIN)/python -m benchmarks.million
	$(BIN)/python -m benchmarks.asking
	$(BIN)/python -m benchmarks.frames
	$(BIN)/python -m benchmarks.analysing
	$(BIN)/python -m benchmarks.dashboard
	$(BIN)/python -m benchmarks.start_up

docs: $(VENV)/.dev ## build the documentation: docs/_build/html/index.html
	$(BIN)/sphinx-build -q -W -n -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

lint: $(VENV)/.dev ## style, types and import contracts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

clean: ## remove all that make made
	rm -rf $(VENV) $(HUMAN) demo build dist docs/_build *.egg-info .hypothesis \
		.import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Two stamps, so that the demo does not wait for the tools of the tests. Each is
# renewed when the requirements change.
$(VENV)/.server: setup.cfg pyproject.toml | $(BIN)/python
	@echo "Installing Penchant into $(VENV) (once; a minute or two) ..."
	$(PIP) --editable '.[server]'
	@touch $@

$(VENV)/.dev: setup.cfg pyproject.toml | $(BIN)/python
	@echo "Installing Penchant and its test tools into $(VENV) (once) ..."
	$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.server

# PyTorch, some GB: only for what benchmarks compare with.
$(VENV)/.bench: setup.cfg pyproject.toml $(VENV)/.dev
	@echo "Installing PyTorch into $(VENV) (once; some minutes) ..."
	$(PIP) --editable '.[bench]'
	@touch $@

# What tests work with beside Python; they start their own, on ports of their own.
$(VENV)/.services: tests/services.sh $(VENV)/.dev
	@sh tests/services.sh $(SUDO)
	@touch $@

# PsychoPy wants an older numpy, and older Pythons: a window's client has an environment
# of its own. Without one its tests are skipped, and say so.
$(HUMAN)/.ready: setup.cfg pyproject.toml
	@if $(PYTHON) -c 'import sys; sys.exit(sys.version_info >= (3, 13))'; then \
		echo "Installing PsychoPy into $(HUMAN) (once; some minutes) ..." && \
		$(PYTHON) -m venv $(HUMAN) && \
		$(HUMAN)/bin/python -m pip install --quiet --no-compile \
			--disable-pip-version-check --editable '.[human]'; \
	else \
		echo "PsychoPy needs Python 3.12 or older: its tests are skipped" && \
		mkdir -p $(HUMAN); \
	fi
	@touch $@

# Debian and Ubuntu ship Python without ensurepip, which is in pythonX.Y-venv.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Penchant needs Python 3.11 or newer, and $(PYTHON) is not that." \
			"Name another: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
		command -v apt-get >/dev/null || { \
			echo "$(PYTHON) has no ensurepip: install its venv package"; exit 1; }; \
		package=$$($(PYTHON) -c 'import sys; \
			print("python%d.%d-venv" % sys.version_info[:2])') && \
		echo "Installing $$package ..." && $(SUDO) apt-get -qq update && \
		$(SUDO) env DEBIAN_FRONTEND=noninteractive \
			apt-get -qq install --yes --no-install-recommends $$package; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
