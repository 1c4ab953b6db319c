# All a checkout needs, from nothing but make and Python 3.11 or newer.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

BIN := .venv/bin
INSTALLED := .venv/.installed
EMULATOR := .venv-emulator/.installed
PYTHONS := $(or $(PYTHON),python3.13 python3.12 python3.11 python3)

# Where it is set, each of the hundreds of processes that tests start compiles all it imports.
unexport PYTHONDONTWRITEBYTECODE

# Each process begins with a part of its own and helps the others at the end: what the tests of a file share is made
# once. On two cores the third one works while others wait for processes, servers and timers of theirs.
SPREAD := -n 3 --dist worksteal

# The data of the ETL example ends with this day.
RUN := $(BIN)/headrace run examples/etl.yaml --input date=2015-12-31 --input-file data=@examples/data/seattle-weather.csv

.PHONY: help setup run serve test test-slow test-crash test-emulator test-all lint format bench costs simulate mutants fuzz-api clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## Make .venv with Headrace and all that its tests need
	@echo "Ready: $(BIN)/headrace"

run: $(INSTALLED) ## Run the ETL example on four years of Seattle's weather
	$(RUN)
	@echo
	@echo "The same sums, straight from the data:"
	@awk -F, 'NR > 1 { year = substr($$1, 1, 4); days[year]++; rain[year] += $$2 } \
	    END { for (year in days) printf "  %s: %d days, %.1f mm\n", year, days[year], rain[year] }' \
	    examples/data/seattle-weather.csv | sort

serve: $(INSTALLED) ## Serve the API on 127.0.0.1:8080, with the examples loaded
	$(BIN)/headrace server --flows examples

test: lint ## Lint, then every test but the slow ones and those of the emulator
	$(BIN)/pytest $(SPREAD) -m "not slow and not emulator"

test-slow: $(INSTALLED) ## The slow tests: thousands of seeds, killed processes
	$(BIN)/pytest -n 2 -m slow

test-crash: $(INSTALLED) ## Kill the Lambda functions at every request, in every flow of the corpus: an hour or two
	$(BIN)/pytest -n 2 -m slow tests/moto

test-emulator: $(INSTALLED) $(EMULATOR) ## The tests against an emulated AWS, which they start on a free loopback port
	$(BIN)/pytest -n 2 --dist loadfile -m emulator

test-all: lint ## Lint, then every test
	$(BIN)/pytest -n 2

lint: $(INSTALLED) ## Check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED) ## Format the code and repair what can be repaired by itself
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(INSTALLED) ## Measure against DBOS, by size, and script start
	$(BIN)/python benchmarks/local.py --vs dbos --scale --script

SEEDS := 2000
simulate: $(INSTALLED) ## The simulator: SEEDS=2000, or one told entry by entry: SEED=17 [FAULTS=…]
	PYTHONPATH=tests $(BIN)/python -m simulation.simulate \
	    $(if $(SEED),--seed $(SEED) $(if $(FAULTS),--faults $(FAULTS)),--seeds $(SEEDS))

mutants: $(INSTALLED) ## Break the engine in named ways; the simulator must notice each
	PYTHONPATH=tests $(BIN)/python -m simulation.mutants

costs: $(INSTALLED) ## Count what task runs ask of AWS and write docs/costs.md
	$(BIN)/python benchmarks/aws_requests.py --wide --write

SECONDS := 240
fuzz-api: $(INSTALLED) ## Try the API of a local server with what its OpenAPI document allows, and more, for SECONDS=240
	PYTHONPATH=tests $(BIN)/python -m api.fuzz --seconds $(SECONDS)

clean: ## Remove all that is not the source, .venv included
	rm -rf .venv .venv-emulator .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .headrace build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A .venv that works is kept; one whose Python is gone or too old is made anew. The stamp comes last, so
# that an interrupted setup is taken up again. uv installs in seconds what pip does in a minute and a half; where it
# cannot (an index that only pip's configuration names), pip does it.
FITS := -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))'
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --quiet

$(INSTALLED): pyproject.toml
	@if ! $(BIN)/python $(FITS) 2>/dev/null; then \
	    found=; for python in $(PYTHONS); do \
	        if "$$python" $(FITS) 2>/dev/null; then found="$$python"; break; fi; \
	    done; \
	    if [ -z "$$found" ]; then \
	        echo "Headrace needs Python 3.11 or newer with its venv and ensurepip modules; tried: $(PYTHONS)." >&2; \
	        echo "Install one (on Debian: apt-get install python3-venv) or name it: make setup PYTHON=/path/to/python3" >&2; \
	        exit 1; \
	    fi; \
	    echo "Making .venv with $$found ($$("$$found" --version 2>&1))"; \
	    "$$found" -m venv --clear .venv; \
	fi
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null
	@echo "Installing Headrace and its development tools into .venv: some minutes, 1.2 GB"
	@$(PIP) --no-compile uv && $(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[dev]' \
	    || $(PIP) --editable '.[dev]'
	@touch $@

# ministack pins its botocore, so it has a .venv of its own; its internals are relied on, so its version is pinned.
# Functions run on that .venv, as on Lambda's runtime: with boto3, and nothing else that they do not bring.
$(EMULATOR): $(INSTALLED)
	@echo "Installing the emulated AWS into .venv-emulator"
	@$(BIN)/python -m venv --clear .venv-emulator
	@PIP_DISABLE_PIP_VERSION_CHECK=1 .venv-emulator/bin/python -m pip install --quiet ministack==1.5.33 boto3==1.43.106
	@touch $@
