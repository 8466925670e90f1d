# make demo   the whole method on synthetic hearts, in an environment of its own
# make test   format, lint, types, tests, coverage
# make test-gpu  what a GPU computes beside what a CPU does; skips it all where there is none
# make audit  known vulnerabilities of the pinned packages
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
FOLDER ?= demo
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-gpu audit clean

demo: $(VENV)/run.stamp
	$(BIN)/diffrect demo $(FOLDER)

test: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	OMP_NUM_THREADS=2 $(BIN)/python -m pytest --cov --cov-report=term

test-gpu: $(VENV)/dev.stamp
	DIFFRECT_TEST_GPU=1 $(BIN)/python -m pytest tests/system/test_gpu.py

audit: | $(VENV)/bin/python
	$(BIN)/python benchmarks/audit.py constraints.txt

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e .
	touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e '.[dev]'
	touch $@ $(VENV)/run.stamp

clean:
	rm -rf $(VENV) demo
