# `make help` lists what there is. Everything installs into .venv, exactly as uv.lock says.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# The order of the steps of `make test` is wanted, also with -j.
.NOTPARALLEL:
SHELL := /bin/sh

VENV := .venv
BIN := $(VENV)/bin
UV := scripts/uv
LOCKED := pyproject.toml uv.lock
NODE_PEERS := tests/peers/node
NODE_JUDGES := tests/conformance/node
NODE_SIDES := tests/matrix/node
PYTHON_SIDE := .cache/matrix/python-1
ARGS ?=

# xdist workers; more than there are cores only makes the clock-bound tests slower.
TEST_WORKERS ?= auto

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: env
env: $(VENV)/.env-done ## Install mcpproxy as .venv/bin/mcpproxy (what it needs to run, no more)

# --inexact: in a developer's checkout this must not take the test tools away again.
$(VENV)/.env-done: $(LOCKED) scripts/uv
	@$(UV) sync --frozen --no-dev --inexact --quiet
	@touch $@
	@echo "ready: $(BIN)/mcpproxy"

.PHONY: dev
dev: $(VENV)/.dev-done ## Install what development and the tests need as well

$(VENV)/.dev-done: $(LOCKED) scripts/uv
	@$(UV) sync --frozen --quiet
	@touch $@ $(VENV)/.env-done

.PHONY: serve
serve: env ## Run mcpproxy in the foreground (ARGS="--listen HOST:PORT")
	@$(BIN)/mcpproxy serve $(ARGS)

.PHONY: demo
demo: env ## See a login survive an outage of its provider, on this machine only
	@$(BIN)/mcpproxy demo $(ARGS)

# --- checks -----------------------------------------------------------------------------------

.PHONY: lint
lint: dev ## Style, types and architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

.PHONY: format
format: dev ## Put the code in its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: peers
peers: $(NODE_PEERS)/node_modules/.installed ## Install the Node programs that the tests talk to

$(NODE_PEERS)/node_modules/.installed: $(NODE_PEERS)/package-lock.json $(VENV)/.dev-done
	@scripts/node-packages
	@touch $@

.PHONY: judges
judges: $(NODE_JUDGES)/node_modules/.installed ## Install the protocol's official suites

$(NODE_JUDGES)/node_modules/.installed: $(NODE_JUDGES)/package-lock.json $(VENV)/.dev-done
	@scripts/node-packages $(NODE_JUDGES)
	@touch $@

.PHONY: sides
sides: $(NODE_SIDES)/node_modules/.installed $(PYTHON_SIDE)/.installed ## Install the SDKs of the matrix

$(NODE_SIDES)/node_modules/.installed: $(NODE_SIDES)/package-lock.json $(VENV)/.dev-done
	@scripts/node-packages $(NODE_SIDES)
	@touch $@

$(PYTHON_SIDE)/.installed: tests/matrix/python-1.txt $(VENV)/.dev-done
	@scripts/python-peer $(PYTHON_SIDE) tests/matrix/python-1.txt
	@touch $@

.PHONY: system
system:
	@scripts/system-packages

.PHONY: test
test: forget lint unit e2e ## Everything: lint, unit, contract, simulation, end to end
	@$(BIN)/python scripts/test-summary test-results/unit.xml test-results/e2e.xml
	@$(BIN)/python -m tests.report

# A figure counts for the run that measured it.
.PHONY: forget
forget:
	@rm -rf test-results/proof

.PHONY: report
report: dev ## The figures of the last run on one page, test-results/reliability.html
	@$(BIN)/python -m tests.report

.PHONY: unit
unit: dev system peers ## Unit, contract and simulation tests
	$(BIN)/pytest --ignore=tests/e2e --ignore=tests/crash --ignore=tests/conformance \
	  --ignore=tests/matrix/test_matrix.py --ignore=tests/matrix/test_tasks.py \
	  -n $(TEST_WORKERS) --dist=worksteal \
	  --junit-xml=test-results/unit.xml $(ARGS)

# Real servers, a real browser and real clocks: they wait more than they work, so that two go side
# by side, but never two that count on a core of their own.
.PHONY: e2e
e2e: dev system peers ## End-to-end and crash tests: real servers, processes, a real browser
	$(BIN)/pytest tests/crash tests/e2e -n 2 --dist=loadgroup \
	  --junit-xml=test-results/e2e.xml $(ARGS)

.PHONY: conformance
conformance: dev peers judges ## The protocol's official suites and real servers, through mcpproxy
	@rm -rf test-results/conformance
	$(BIN)/pytest tests/conformance --junit-xml=test-results/conformance.xml $(ARGS)

.PHONY: matrix
matrix: dev peers sides ## Client x server x transport x feature, official SDKs of both eras, through mcpproxy
	@rm -rf test-results/matrix
	$(BIN)/pytest tests/matrix/test_matrix.py tests/matrix/test_tasks.py --junit-xml=test-results/matrix.xml $(ARGS)

.PHONY: sim
sim: dev ## Long simulation (SEED=1 YEARS=10 ENGINE=memory|sqlite), on all cores; goes on where it stopped
	$(BIN)/python -m tests.simulation --seed $(or $(SEED),1) --years $(or $(YEARS),10) \
	  --engine $(or $(ENGINE),memory) $(ARGS)

.PHONY: crash
crash: dev ## kill -9 of the real daemon against the logins (KILLS=200 SEED=1)
	$(BIN)/python -m tests.crash --kills $(or $(KILLS),200) --seed $(or $(SEED),1) $(ARGS)

.PHONY: soak
soak: dev ## Long soak (REFRESHES=100000): nothing may grow
	$(BIN)/python -m tests.soak --refreshes $(or $(REFRESHES),100000)

.PHONY: churn
churn: dev ## Long churn of clients, configurations and upstreams (STEPS=100000 SEED=1): nothing may stay
	$(BIN)/python -m tests.churn --steps $(or $(STEPS),100000) --seed $(or $(SEED),1)

.PHONY: bench
bench: dev ## Measure the cost of a proxied call
	$(BIN)/python -m bench $(ARGS)

.PHONY: docs
docs: dev ## Write the reference pages from the code, and check all of the documentation
	$(BIN)/python -m docs.generate
	$(BIN)/pytest tests/docs tests/test_house.py $(ARGS)

.PHONY: build
build: dev ## Build the wheel and the source archive into dist/
	$(UV) build --out-dir dist

.PHONY: lock
lock: ## Bring uv.lock up to date with pyproject.toml
	$(UV) lock

.PHONY: clean
clean: ## Remove everything that make made
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache \
	  .hypothesis dist build test-results $(NODE_PEERS)/node_modules \
	  $(NODE_JUDGES)/node_modules $(NODE_SIDES)/node_modules
