# Every verb does its own set-up; `make` alone lists them.

PYTHON ?= python3
ARGS ?=
WORKERS ?= 2

BIN := .venv/bin
STAMPS := .stamps
READY := $(STAMPS)/python $(STAMPS)/node

# natrix reads contracts with all that they import. Off: underscores before arguments (not our style), and `view` for
# functions that call other contracts (wrong).
DEPLOYED = $(shell find contracts -name '*.vy' -not -path '*/modules/*' -not -name Lens.vy -not -name Planner.vy -not -name Liquidator.vy -not -name Allocator.vy -not -name Mixer.vy -not -name Keepers.vy -not -name UniswapV3Adapter.vy)
SITE := 'import sysconfig; print(sysconfig.get_paths()["purelib"])'
NATRIX := -d NTX4 NTX11 -c MemoryExpansion.max_frame_size=33500
# A plan holds the account, a donor and the slices of its means at once: 11,300 gas of memory; a liquidation the account
# before and after its rescue.
NATRIX_TWO := -d NTX4 NTX11 -c MemoryExpansion.max_frame_size=57000
# A plan for an allocation holds an account, all that may be done with each asset, and the steps so far: 26,000 gas.
NATRIX_MIX := -d NTX4 NTX11 -c MemoryExpansion.max_frame_size=96000
# A listener does not believe what its caller says of a round, nor an adapter what a pool hands back: an argument of their
# interfaces stays unused.
NATRIX_LISTENER := -d NTX4 NTX10 NTX11 -c MemoryExpansion.max_frame_size=33500
# The batch views of the lens are for calls, which pay no gas: their frames may be large.
NATRIX_LENS := -d NTX1 NTX4 NTX11

# ape finds the compiler on PATH, and wants the directory of its own downloads to exist although it downloads nothing.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export VVM_BINARY_PATH := $(CURDIR)/.cache/vvm

.DEFAULT_GOAL := help
.PHONY: help setup demo testnet fork hardhat efficiency test lint format gas deep mutants seeds coverage clean

help: ## list the verbs
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /: /' | awk -F': ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(READY) ## install everything that is pinned: Python packages, npm packages, a local node

demo: $(READY) ## play a crash on a local chain: make demo ARGS="--prices FILE --from DATE --to DATE --accounts N"
	@$(BIN)/ape run demo $(ARGS)

fork: $(READY) ## from deposit to liquidation on a fork, real Chainlink and Uniswap: make fork ARGS="--url URL --block N"
	@$(BIN)/ape run fork $(ARGS)

hardhat: $(READY) $(STAMPS)/hardhat ## that story on a Hardhat node, and the tests of chains on it; installs 290 MB of its own
	@$(BIN)/ape run hardhat
	$(BIN)/pytest tests/hardhat $(ARGS)

testnet: $(READY) ## stand in for a testnet, to rehearse a deployment: make testnet ARGS="--fund ALIAS"
	@$(BIN)/ape run testnet $(ARGS)

efficiency: $(READY) ## how good the rebalancing is: make efficiency ARGS="--hourly FILE --chainlink FILE --chainlink FILE"
	@$(BIN)/ape run efficiency $(ARGS)

test: $(READY) ## all tests, 500 examples per property
	$(BIN)/pytest -n $(WORKERS) --dist worksteal $(ARGS)

deep: $(READY) ## a million random actions, then all properties with 2,500 examples: make deep ARGS="--minutes 60"
	@$(BIN)/python -m tests.deep --workers $(WORKERS) $(ARGS)

gas: $(READY) ## measure gas and code size, rewrite tests/gas/snapshot.json
	$(BIN)/python -m ballast.gas $(ARGS)

lint: $(READY) ## style, types and compiler hazards
	$(BIN)/ruff check ballast scripts tests
	$(BIN)/ruff format --check ballast scripts tests
	$(BIN)/mypy
	$(BIN)/python -m ballast.lint
	$(BIN)/natrix lint $(DEPLOYED) -p . $$($(BIN)/python -c $(SITE)) $(NATRIX)
	$(BIN)/natrix lint contracts/Planner.vy contracts/Liquidator.vy -p . $$($(BIN)/python -c $(SITE)) $(NATRIX_TWO)
	$(BIN)/natrix lint contracts/Allocator.vy contracts/Mixer.vy -p . $$($(BIN)/python -c $(SITE)) $(NATRIX_MIX)
	$(BIN)/natrix lint contracts/Keepers.vy contracts/adapters/UniswapV3Adapter.vy -p . $$($(BIN)/python -c $(SITE)) $(NATRIX_LISTENER)
	$(BIN)/natrix lint contracts/Lens.vy -p . $$($(BIN)/python -c $(SITE)) $(NATRIX_LENS)

format: $(READY) ## rewrite Python files in the house style
	$(BIN)/ruff check --fix ballast scripts tests
	$(BIN)/ruff format ballast scripts tests

coverage: $(READY) ## lines and branches of the contracts that the tests run, rewrites tests/coverage/coverage.json
	@$(BIN)/python -m ballast.coverage $(ARGS)

mutants: $(READY) ## break the contracts on purpose, count what the tests see: make mutants ARGS="--file health --minutes 60"
	@$(BIN)/python -m ballast.mutation $(ARGS)

seeds: $(READY) ## plant a mistake for every invariant; its own check has to see it: make seeds ARGS="--id I05"
	@$(BIN)/python -m tests.seeds $(ARGS)

clean: ## remove what the other verbs made
	rm -rf .venv .node $(STAMPS) .build .cache node_modules tests/hardhat/node_modules out .coverage htmlcov
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Set-up happens once; a stamp is older than its lock only after the lock changed.

$(STAMPS)/python: requirements.lock
	@.ci/setup-python "$(PYTHON)"
	@mkdir -p $(STAMPS) $(VVM_BINARY_PATH) && touch $@

$(STAMPS)/node: package-lock.json npm-tarballs.toml requirements-node.lock | $(STAMPS)/python
	@.ci/setup-node
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/hardhat: tests/hardhat/package-lock.json | $(STAMPS)/node
	@.ci/setup-hardhat
	@mkdir -p $(STAMPS) && touch $@
