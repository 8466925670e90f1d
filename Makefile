# make demo   the whole method on synthetic hearts, in an environment of its own
# make test   format, lint, types, documentation, tests, coverage
# make lint   format, lint, types
# make docs   the documentation as a site, in site/; a broken link is an error
# make test-gpu  what a GPU computes beside what a CPU does; skips it all where there is none
# make audit  known vulnerabilities of the pinned packages
# The first of these that runs and is recent enough, unless PYTHON names another.
PYTHON ?= $(firstword $(foreach name,python3.13 python3.12 python3.11 python3,\
	$(shell $(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(name))))
VENV ?= .venv
BIN := $(VENV)/bin
FOLDER ?= demo
WORKERS ?= 2
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test lint test-gpu docs audit clean

demo: $(VENV)/run.stamp
	$(BIN)/diffrect demo $(FOLDER)

test: $(VENV)/dev.stamp
	$(MAKE) lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --cov --cov-report=term

lint: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test-gpu: $(VENV)/dev.stamp
	DIFFRECT_TEST_GPU=1 $(BIN)/python -m pytest tests/system/test_gpu.py

docs: $(VENV)/dev.stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

audit: | $(VENV)/bin/python
	$(BIN)/python benchmarks/audit.py constraints.txt

$(VENV)/bin/python:
	$(or $(PYTHON),$(error Python: expected 3.11 or later, found none; make PYTHON=/path/to/python)) \
		-m venv $(VENV)

$(VENV)/run.stamp: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e .
	touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e '.[dev]'
	touch $@ $(VENV)/run.stamp

clean:
	rm -rf $(VENV) demo site
