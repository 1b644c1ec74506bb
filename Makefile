# Two environments, each made once: base (figures, no torch) and full (everything).
# Versions are those the project was tested with; `make CONSTRAINTS= test` takes the newest.
PYTHON ?= python3
CONSTRAINTS ?= constraints.txt
PIP_FLAGS := --quiet --disable-pip-version-check $(if $(CONSTRAINTS),-c $(CONSTRAINTS))

BASE := .venv/base
FULL := .venv/full

.DEFAULT_GOAL := help
.PHONY: help environment base figures data test docs lint types benchmarks clean

help: ## Say what can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

environment: $(FULL)/.ready ## The environment of everything, .venv/full; then: source .venv/full/bin/activate
	@echo "ready; now: source $(FULL)/bin/activate"

base: $(BASE)/.ready ## The environment of figures and recordings, .venv/base (no torch)
	@echo "ready; now: source $(BASE)/bin/activate"

figures: $(BASE)/.ready ## All figures and figures/index.html (simulated data where there are no real ones)
	$(BASE)/bin/python -m figure_reproduction --simulate-missing

data: $(BASE)/.ready ## The authors' source data (OSF) and block means, into source_data/
	$(BASE)/bin/python -m core.source_data fetch

test: $(FULL)/.ready lint types ## Checks and the whole test suite
	$(FULL)/bin/python -m pytest --disable-plugin-autoload -p xdist \
		--numprocesses auto --maxprocesses 4 --dist worksteal

docs: $(FULL)/.ready ## The documentation, into docs/_build/html
	$(FULL)/bin/python -m sphinx --fail-on-warning --keep-going -q docs docs/_build/html
	@echo "docs/_build/html/index.html"

lint: $(FULL)/.ready ## ruff
	$(FULL)/bin/ruff check .

types: $(FULL)/.ready ## mypy
	$(FULL)/bin/mypy

clean: ## Remove environments and caches; data and figures stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache build *.egg-info

$(BASE)/.ready: pyproject.toml $(CONSTRAINTS)
	$(call new_environment,$(BASE))
	$(BASE)/bin/pip install $(PIP_FLAGS) --editable .
	@touch $@

$(FULL)/.ready: pyproject.toml requirements.txt $(CONSTRAINTS)
	$(call new_environment,$(FULL))
	$(FULL)/bin/pip install $(PIP_FLAGS) --requirement requirements.txt
	$(FULL)/bin/pip install $(PIP_FLAGS) --no-deps --editable .
	@touch $@

define new_environment
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is older than Python 3.11; give another: make PYTHON=python3.12 …" >&2; exit 2; }
	@echo "making the environment $(1) (a few minutes the first time) …"
	$(PYTHON) -m venv $(1)
endef
