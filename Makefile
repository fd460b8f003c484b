# `make demo` and `make test` need nothing but Python 3.11 or newer; both can be run again at any time.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
GOAL ?= 帮我做一个下周三到下周日杭州周边自驾游方案

.PHONY: help setup demo test test-fast test-nightly cluster-up cluster-down test-cluster check format docs lock bench clean

help: ## what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | column -t -s "$$(printf '\t')"

setup: $(VENV)/.ready ## the environment in .venv, as locked

$(VENV)/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "agentmesh needs Python 3.11 or newer: make PYTHON=python3.12 …"; exit 1; }
	@echo "Setting up $(VENV) (once; about half a minute)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

demo: setup ## a supervisor plans a trip, with no server and no key
	@echo "Goal: $(GOAL)"
	@$(BIN)/agentmesh run "$(GOAL)"

test: check ## everything that needs no server
	@echo "Running the tests"
	@$(BIN)/python -m pytest -q -n 2 -m "not cluster"

test-fast: check ## the same without the slow ones, within three minutes
	@echo "Running the fast tests"
	@$(BIN)/python -m pytest -q -n 2 -m "not slow and not cluster"

test-nightly: setup ## the tests again with words alone, and with an embedder behind OpenAI's protocol (about 20 minutes)
	@echo "Running the tests by words alone"
	@TEST_EMBEDDER=none $(BIN)/python -m pytest -q -n 2 -m "not cluster"
	@echo "Running the tests with embedder=openai:… against a server of their own"
	@TEST_EMBEDDER=openai $(BIN)/python -m pytest -q -n 2 -m "not cluster"

cluster-up: setup ## RocketMQ and Nacos on loopback (needs Java 17, Maven and cargo)
	@$(BIN)/python -m deploy.cluster up

cluster-down: setup ## stop them and remove what they stored
	@$(BIN)/python -m deploy.cluster down

test-cluster: setup ## the contract, the registry and the main job over real servers, which it starts and stops
	@$(BIN)/python tests/cluster/run.py

check: setup ## lint, types, layers
	@echo "Checking style, types and layers"
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/mypy --strict --explicit-package-bases agents
	@$(BIN)/mypy --strict examples docs/generate.py
	@$(BIN)/lint-imports --no-cache | tail -n 4

format: setup ## let ruff format the code
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

docs: setup ## regenerate what is generated: schemas, settings, reference
	@$(BIN)/python docs/generate.py

lock: ## resolve the development environment anew
	@$(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--group dev pyproject.toml -o requirements.lock

bench: setup ## the broker contract beside its floor
	@$(BIN)/agentmesh bench call

clean: ## remove what was built
	rm -rf $(VENV) .mypy_cache .ruff_cache .hypothesis .import_linter_cache
