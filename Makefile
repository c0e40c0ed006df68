# Two commands do all the set-up: `make demo` and `make test`.
# uv users get the same with `uv run proxmox-mcp tour` and `uv run pytest`.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
MCPB := tests/integrations-node/node_modules
INTEROP := tests/interop/node_modules
VERSIONS ?= 3.11 3.12 3.13

.DEFAULT_GOAL := help
.PHONY: help demo test coverage test-all lint types check format clean faults soak bench bench-check bundle interop claude

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/ready ## install into .venv, and watch a client use the server on a simulated cluster
	@$(BIN)/proxmox-mcp tour

test: $(VENV)/ready-dev ## run the whole suite
	@$(BIN)/python -m pytest --numprocesses auto --dist worksteal

coverage: $(VENV)/ready-dev ## the same with branch coverage, which takes half as long again
	@$(BIN)/python -m pytest --numprocesses auto --dist worksteal --cov --cov-report=term

test-all: ## run the suite on every supported Python that is installed
	@for version in $(VERSIONS); do \
	  found=; \
	  for python in python$$version $$HOME/.pyenv/versions/$$version.*/bin/python; do \
	    if [ -z "$$found" ] && $$python --version >/dev/null 2>&1; then found=$$python; fi; \
	  done; \
	  if [ -z "$$found" ]; then echo "== Python $$version is not installed"; continue; fi; \
	  echo "== $$found"; \
	  $(MAKE) --no-print-directory test PYTHON=$$found VENV=.venv-$$version || exit 1; \
	done

faults: $(VENV)/ready-dev ## what happens under each fault? prints the table, writes docs/faults.md
	@$(BIN)/python -m benchmarks.faults

soak: $(VENV)/ready-dev ## 20,000 calls to one server: nothing lost, and its memory flat?
	@$(BIN)/python -m benchmarks.soak

bench: $(VENV)/ready-dev ## what does a call cost? a table of ratios; MARKDOWN=1 prints it for a document
	@$(BIN)/python -m benchmarks.bench $(if $(MARKDOWN),--markdown)

bench-check: $(VENV)/ready-dev ## hold what is the same in every run against its budget
	@$(BIN)/python -m benchmarks.bench --check

bundle: $(MCPB)/.package-lock.json ## pack the extension for Claude Desktop into dist/
	@mkdir -p dist
	@$(MCPB)/.bin/mcpb pack integrations/claude-desktop dist/proxmoxer-mcp-$$(sed -n \
	  's/^__version__ = "\(.*\)"/\1/p' proxmox_mcp/__init__.py).mcpb

interop: $(VENV)/ready-dev ## do other people's clients work? prints the table; WRITE=1 writes docs/interop.md
	@if command -v node >/dev/null && command -v npm >/dev/null; then \
	  $(MAKE) --no-print-directory $(INTEROP)/ready \
	    && $(BIN)/python -m tests.interop $(if $(WRITE),--write); \
	elif [ -n "$$CI" ]; then echo "interop needs Node and npm"; exit 1; \
	else echo "== interop is skipped: it needs Node and npm, and they are not installed"; fi

claude: $(VENV)/ready-dev ## does the real Claude Code reach the server, where it is installed?
	@$(BIN)/python -m tests.interop.claude

lint: $(VENV)/ready-dev ## check style and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/ready-dev ## check types
	@$(BIN)/mypy

check: lint types ## lint and types

format: $(VENV)/ready-dev ## put everything into shape
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

clean: ## remove what these targets made
	rm -rf .venv .venv-* dist build .coverage .pytest_cache .mypy_cache .ruff_cache $(INTEROP)

$(MCPB)/.package-lock.json: tests/integrations-node/package-lock.json
	@cd tests/integrations-node && npm ci --ignore-scripts --omit=optional
	@touch $@

$(INTEROP)/ready: tests/interop/package-lock.json
	@cd tests/interop && npm ci
	@touch $@

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

# What is imported is compiled then and there; compiling all that is installed takes longer.
$(VENV)/ready: pyproject.toml $(VENV)/bin/python
	@$(BIN)/python -m pip install --quiet --no-compile --editable .
	@touch $@

# pip before 25.1 knows no dependency groups, so the environment gets a newer one.
$(VENV)/ready-dev: $(VENV)/ready
	@$(BIN)/python -m pip install --quiet --no-compile --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --no-compile --group dev
	@touch $@
