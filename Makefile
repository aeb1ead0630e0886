# `make` alone explains the targets. They mean the same here and in a generated repository.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# The tool alone, and what its tests and lint need.
TOOL := $(VENV)/.tool
INSTALLED := $(VENV)/.installed
# The documentation's tools ask for other versions of common packages than the tests'.
DOCS_VENV := $(VENV)-docs
DOCS := $(DOCS_VENV)/.installed
# Passed on, as in: make test PYTEST='tests/cli -k new', make matrix MATRIX='--jobs 1'.
PYTEST ?=
# Test processes at a time. Most tests wait for containers: two CPUs are busy with three.
PROCESSES ?= 3
MATRIX ?=
BENCH ?=
SOAK ?=

# uv takes a tenth of pip's time. Where it finds no index, because only pip's settings name one, pip follows.
define install
	$(1)/bin/pip install --quiet --disable-pip-version-check uv
	$(1)/bin/uv pip install --quiet --python $(1)/bin/python --editable '.[$(2)]' || \
		$(1)/bin/pip install --quiet --disable-pip-version-check --editable '.[$(2)]'
endef

.DEFAULT_GOAL := help
.PHONY: help setup demo test mutants matrix newest soak bench examples docs versions release lint format clean

help: ## Show this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-9s %s\n", $$1, $$2 }'

setup: $(INSTALLED) ## Install sagegen and its tools into .venv

demo: $(TOOL) ## Generate a repository, build its image, train, serve and predict
	PATH="$(abspath $(BIN)):$$PATH" scripts/demo

test: $(INSTALLED) ## Run every test but the matrix
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist loadgroup $(PYTEST)
	@# What a release asks for: all tests passed on this tree.
	@if [ -z "$(PYTEST)$$(git status --porcelain)" ]; then \
		mkdir -p build && git rev-parse 'HEAD^{tree}' >build/tested; fi

mutants: $(INSTALLED) ## Run those tests alone that prove every rule of sagegen check
	$(BIN)/python -m pytest -m mutants tests/check

matrix: $(TOOL) ## Build and test every combination, each fact once; MATRIX=--full: everything
	mkdir -p build
	$(BIN)/sagegen matrix --json build/matrix.json --html build/matrix.html $(MATRIX)

newest: $(TOOL) ## Test each stack with the newest servers of the same major version
	PATH="$(abspath $(BIN)):$$PATH" scripts/newest-servers

soak: $(INSTALLED) ## Load every stack for ten minutes, then fuzz it; SOAK='--seconds 3600'
	$(BIN)/python -m tests.container.faults $(SOAK)

bench: $(INSTALLED) ## Measure speed against every peer, into docs/performance.md
	$(BIN)/pip install --quiet --requirement benchmarks/requirements.txt
	$(BIN)/python -m benchmarks --docs docs/performance.md $(BENCH)

examples: $(TOOL) ## Render generated_examples/ again
	$(BIN)/python -m sagegen.machine_graph
	$(BIN)/python -m sagegen.examples

docs: $(DOCS) ## Build the documentation site into build/docs
	$(DOCS_VENV)/bin/sphinx-build --quiet --fail-on-warning --builder html docs build/docs

versions: $(INSTALLED) ## Move all pins to the newest versions within versions.toml, and lock our own tools
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python scripts/versions.py

release: $(INSTALLED) ## Check everything, write the changelog, tag: VERSION=1.2.3, DRY_RUN=1
	@$(BIN)/python scripts/release.py $(or $(VERSION),none) $(if $(DRY_RUN),--dry-run)

lint: $(INSTALLED) ## Check formatting, style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(INSTALLED) ## Format the code
	$(BIN)/ruff check --fix --quiet
	$(BIN)/ruff format

clean: ## Remove what setup, test and matrix left behind
	rm -rf $(VENV) $(DOCS_VENV) build dist matrix-logs .mypy_cache .pytest_cache .ruff_cache

$(TOOL): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

# With LOCKED=1 exactly what locks/dev.txt says, each file with its hash.
$(INSTALLED): $(TOOL)
	$(if $(LOCKED),$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement locks/dev.txt)
	$(call install,$(VENV),dev)
	@touch $@

$(DOCS): pyproject.toml
	$(PYTHON) -m venv $(DOCS_VENV)
	$(call install,$(DOCS_VENV),docs)
	@touch $@
