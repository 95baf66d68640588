# Two commands: `make demo` does the main job on real images, `make test` runs every check that CI runs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NATIVE_SOURCES := $(shell find cpp_ext -path 'cpp_ext/editable/*' -prune -o -type f -print) CMakeLists.txt
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
CHECKED := harden tests examples benchmarks

.PHONY: demo test lint types layers tests sanitize sanitize-cuda benchmarks clean

demo: $(VENV)/.demo
	$(BIN)/harden demo --out runs/digits --force

test: lint types layers tests sanitize

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

# The CPU operations' tests under the address and undefined-behaviour sanitizers: cpp_ext/README.md says how and why.
ifeq ($(origin CXX),default)
CXX := c++
endif
# Preloaded into Python, which knows nothing of them. Only gcc has them as libraries of their own.
GCC := $(findstring Free Software Foundation,$(shell $(CXX) --version 2>/dev/null))
RUNTIMES := $(if $(GCC),$(filter /%,$(foreach name,libasan.so libubsan.so,$(shell $(CXX) -print-file-name=$(name)))))
NOT_SANITIZED := tests/kernels/test_load_library.py tests/kernels/test_wheel.py

ifeq ($(words $(RUNTIMES)),2)
sanitize: build/sanitize/_cpu.so
	OMP_NUM_THREADS=1 LD_PRELOAD="$(RUNTIMES)" ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
	$(BIN)/pytest --capture=sys -m "not once and not cuda" -k "not torch]" tests/kernels/sanitized.py \
	$(filter-out $(NOT_SANITIZED),$(wildcard tests/kernels/test_*.py))
else
sanitize:
	@echo "sanitize: left out, for $(CXX) is no gcc with libasan.so and libubsan.so"
endif

# Where a device and CUDA's tools are.
sanitize-cuda: $(VENV)/.installed
	compute-sanitizer --error-exitcode 1 $(BIN)/pytest tests/kernels -m cuda

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

build/sanitize/_cpu.so: $(VENV)/.installed
	CXX="$(CXX)" $(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir build/sanitize . \
	--config-settings=build-dir=build/sanitize --config-settings=cmake.define.HARDEN_SANITIZE=ON
	touch $@

clean:
	rm -rf $(VENV)/.installed $(VENV)/.demo build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis harden/kernels/*.so
	git clean -qfdX cpp_ext/editable
