# make demo, make test: each sets up .venv by itself, once.
#
# torch is pinned here and nowhere else (.ci/run uses these targets). It is installed first, by
# itself: as a mere dependency it would pull whatever build pip prefers. On Linux the default
# build carries CUDA; for the smaller CPU build: make TORCH="torch==2.13.0 --index-url <its index>"
TORCH ?= torch==2.13.0
PYTHON ?= python3
# Passed to pytest: make test ARGS="-m 'not slow' tests/theory"
ARGS ?=

# Those of minutes that need no data; the others are studies, each with a --help.
BENCHMARKS := solve phase initialise activation training_loop monitor_overhead engine calls roofline

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

# The same versions for the package and for its isolated build.
export PIP_CONSTRAINT := constraints.txt
export PIP_BUILD_CONSTRAINT := constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export RAY_USAGE_STATS_ENABLED := 0

.DEFAULT_GOAL := help
.PHONY: help venv demo test ledger lint format docs bench sanitize clean

help: ## say what can be made
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile

venv: $(READY) ## set up .venv with pinned versions

$(READY): pyproject.toml constraints.txt CMakeLists.txt $(wildcard csrc/*.h csrc/*.cpp)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "sparsefield needs Python 3.11 or newer: make PYTHON=python3.12 (say), or install one" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) has no venv module: install it (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --editable '.[all,dev,docs]'
	@touch $@

demo: $(READY) ## see a 90 %-sparse deep network train, and what happens without its initialisation
	$(BIN)/sparsefield demo

# Everything: two processes of one thread each. What ARGS selects: one process.
test: $(READY) ## run every test and every docstring example
	$(if $(ARGS),,OMP_NUM_THREADS=1) $(BIN)/python -m pytest $(or $(ARGS),-n 2 --dist loadfile)

ledger: $(READY) ## check every formula, and write what was found to docs/ledger.md
	$(BIN)/python -m pytest -q --ledger docs/ledger.md

lint: $(READY) ## check style, format and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(READY) ## bring the code into the house format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(READY) ## check the pages against their records, build docs/_build/html; warnings are errors
	$(BIN)/sparsefield report results --docs docs --check
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

bench: $(READY) ## run the benchmarks (some twenty minutes); each says what it ran on and writes JSON
	@set -e; for name in $(BENCHMARKS); do echo "== $$name"; $(BIN)/python "benchmarks/$$name.py"; done

sanitize: ## run the kernels under the address, undefined-behaviour and thread sanitizers
	@command -v cmake >/dev/null || { echo "make sanitize needs cmake: pip install cmake, or apt install cmake" >&2; exit 1; }
	@set -e; for kind in address thread; do \
	  echo "== $$kind"; \
	  cmake -S . -B build/sanitize/$$kind -DSPARSEFIELD_SANITIZE=$$kind >/dev/null; \
	  cmake --build build/sanitize/$$kind --parallel 2; \
	  (cd build/sanitize/$$kind && ctest --output-on-failure); \
	done

clean: ## remove what was built and installed here
	rm -rf .cmake .ninja_* .skbuild-info.json CMakeCache.txt CMakeFiles CMakeInit.txt build.ninja cmake_install.cmake lib*.a
	rm -f src/sparsefield/engine/*.so
	rm -rf $(VENV) build dist docs/_build .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
