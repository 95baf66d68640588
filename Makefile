# Two commands: `make demo` does the main job on real images, `make test` runs every check that CI runs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NATIVE_SOURCES := $(shell find cpp_ext -path 'cpp_ext/editable/*' -prune -o -type f -print) CMakeLists.txt
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
CHECKED := harden tests examples benchmarks

.PHONY: demo test lint types layers tests benchmarks clean

demo: $(VENV)/.demo
	$(BIN)/harden demo --out runs/digits

test: lint types layers tests

lint: $(VENV)/.installed
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check $(CHECKED)

types: $(VENV)/.installed
	$(BIN)/mypy
	$(BIN)/pyright

layers: $(VENV)/.installed
	$(BIN)/lint-imports

# Whole files to a process: fixtures that train or build something are made once for each of them.
tests: $(VENV)/.installed
	$(BIN)/pytest -n 2 --dist loadfile

benchmarks: $(VENV)/.installed
	$(BIN)/pytest benchmarks --benchmark-enable --benchmark-only

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# Editable installs: Python files are read from the checkout, the compiled library is rebuilt when its sources change.
INPUTS := $(VENV)/bin/python pyproject.toml constraints.txt $(NATIVE_SOURCES)

$(VENV)/.demo: $(INPUTS)
	$(PIP) -e '.[demo]'
	touch $@

$(VENV)/.installed: $(INPUTS)
	$(PIP) -e '.[dev]'
	touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV)/.installed $(VENV)/.demo build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis harden/kernels/*.so
	git clean -qfdX cpp_ext/editable
