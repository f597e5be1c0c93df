# One command each to build, test, measure and simulate: the same for people and CI.
SHELL := /bin/bash
BUILD := build
JOBS := $(shell nproc)
PYTHON := .venv/bin/python

.PHONY: help setup configure build test demo bench sim fuzz drill tidy format clean

help: ## what there is
	@grep -hE '^[a-z]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

setup: ## install what a bare Debian 12 lacks (packages, .venv)
	@tools/setup

$(BUILD)/build.ninja: CMakeLists.txt cmake/ember.cmake | setup
	@cmake -S . -B $(BUILD) -G Ninja --log-level=WARNING

TARGETS := all
build: setup $(BUILD)/build.ninja ## build what runs into build/ (TARGETS="all tests": tests too)
	@ninja -C $(BUILD) --quiet -j $(JOBS) $(TARGETS)

test: ## everything that CI runs
	@tools/setup --tests
	@tools/test

demo: build ## start, deploy, call, bill, scale to zero, stop
	@tools/demo

bench: build ## make bench NAME=warm_call: one benchmark; its figures go to build/bench/NAME.json
	@test -f bench/$(NAME).py || { echo "make bench NAME=...: one of" $(patsubst bench/%.py,%,$(filter-out bench/common.py,$(wildcard bench/*.py))); exit 2; }
	@$(PYTHON) -m bench.$(NAME)

SEED ?= 1
SEEDS ?= 1
sim: setup $(BUILD)/build.ninja ## make sim SEED=7 [SEEDS=200]: the engine under faults, in simulated time
	@ninja -C $(BUILD) --quiet -j $(JOBS) ember-sim
	@$(BUILD)/bin/ember-sim --seed $(SEED) --seeds $(SEEDS)

SECONDS ?= 60
fuzz: setup ## make fuzz NAME=http [SECONDS=600]: one fuzzer, for as long; its coverage
	@tests/fuzz/run "$(NAME)" "$(SECONDS)"

drill: build ## make drill NAME=kills [SEED=7]: a long suite
	@test -x tests/drill/$(NAME) || { echo "make drill NAME=...: one of" $(notdir $(wildcard tests/drill/*)); exit 2; }
	@tests/drill/$(NAME)

tidy: setup ## the rules of the house, formatting, types
	@tools/tidy
	@.venv/bin/ruff check -q . && .venv/bin/ruff format -q --check .
	@.venv/bin/basedpyright --level error

format: setup ## format all code
	@git ls-files '*.h' '*.cc' | xargs clang-format -i
	@.venv/bin/ruff format -q . && .venv/bin/ruff check -q --fix .

clean: ## remove what was built (not .venv)
	@rm -rf $(BUILD)
