# make demo        set everything up, train a small real model, watch it in the browser
# make test        set everything up, lint, type-check, run the tests (6 minutes or less on 2 cores)
# make test-slow   the long ones (20 minutes or less)
# make bench       every measurement, results into bench/results/
# make types docs  regenerate what is generated: API types of the page; reference pages

SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin
BUILD := pyproject.toml constraints.txt hatch_build.py ui/package.json ui/package-lock.json ui/index.html \
         ui/vite.config.ts $(shell find ui/src ui/public -type f 2>/dev/null)
PIP := $(RUN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo serve test lint unit test-slow bench types docs clean

demo: $(VENV)/.demo
	@$(RUN)/barograph demo

serve: $(VENV)/.demo
	@$(RUN)/barograph serve

test: lint unit

lint: $(VENV)/.test
	$(RUN)/ruff format --check src tests bench docs ui/generate_types.py hatch_build.py
	$(RUN)/ruff check src tests bench docs ui/generate_types.py hatch_build.py
	$(RUN)/lint-imports --no-logo
	$(RUN)/mypy

unit: $(VENV)/.test
	$(RUN)/pytest -n 3 --dist loadfile -m "not slow"

test-slow: $(VENV)/.test
	$(RUN)/pytest -m slow

bench: $(VENV)/.bench
	for script in bench/*.py; do $(RUN)/python $$script || exit 1; done

types: $(VENV)/.test
	$(RUN)/python ui/generate_types.py

docs: $(VENV)/.test
	$(RUN)/python docs/generate.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(VENV)/bin/python $(BUILD)
	@echo "Setting up $(VENV) (once; a minute or two) ..."
	@$(PIP) -e '.[demo]'
	@touch $@

$(VENV)/.test: $(VENV)/bin/python $(BUILD)
	@echo "Setting up $(VENV) for tests (once; a minute or two) ..."
	@$(PIP) -e '.[test]'
	@touch $@ $(VENV)/.demo

$(VENV)/.bench: $(VENV)/bin/python $(BUILD)
	@$(PIP) -e '.[bench]'
	@touch $@ $(VENV)/.demo $(VENV)/.test

clean:
	rm -rf $(VENV) dist src/barograph/api/static ui/node_modules .mypy_cache .ruff_cache .pytest_cache
