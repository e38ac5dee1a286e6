# `make demo` and `make test` set everything up themselves; `make PYTHON=python3.12 demo` picks a Python.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
INSTALL = $(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt

.PHONY: help setup demo test doctest lint readme bench-peers ci clean

help:
	@echo "make demo     rank the components of the handwritten digits; table, model, report page"
	@echo "make test     the test suite"
	@echo "make doctest  the examples in the docstrings"
	@echo "make lint     ruff, mypy, import contracts"
	@echo "make readme   the code blocks of the README"
	@echo "make bench-peers  the environment of the packages that benchmarks compare with"
	@echo "make ci       all of these, as .ci/run"
	@echo "make clean    remove what these commands wrote, except .venv"

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "narrows needs Python >= 3.11, and '$(PYTHON)' is not. Write: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "'$(PYTHON)' cannot make a virtual environment: its venv or ensurepip module is missing." >&2; \
	    echo "On Debian and Ubuntu write: apt install python3-venv" >&2; exit 1; }
	@echo "Setting up .venv, once; this takes a few minutes."
	@$(PYTHON) -m venv .venv
	@echo "  1/2 torch"
	@$(INSTALL) torch==2.13.0 setuptools
	@echo "  2/2 narrows and its development tools"
	@$(INSTALL) --no-build-isolation --editable '.[dev]'
	@touch $@

demo: $(READY)
	@$(BIN)/narrows demo

test: $(READY)
	@$(BIN)/python -m pytest -n 2 tests

doctest: $(READY)
	@$(BIN)/python -m pytest -n 2 -p tests.conftest --doctest-modules src/narrows

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

readme: $(READY)
	@$(BIN)/python .ci/readme.py README.md docs/guide.md docs/scaling.md

bench-peers:
	@PYTHON=$(PYTHON) benchmarks/speed/peers.sh

ci:
	@.ci/run

clean:
	@rm -rf build dist narrows-demo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	@find src tests benchmarks examples .ci -name __pycache__ -type d -prune -exec rm -rf {} +
