# `make help` lists the targets. The work is done by scripts/; this file only gives it names.

.DEFAULT_GOAL := help
SHELL := /bin/bash

# Settings can be passed as variables: make up WORKERS=3 PORT=9000 MONITORING=1 ENABLE_CACHE=false
WORKERS ?=
PORT ?=
MONITORING ?=
PARTS ?=
CRATE ?=
FILTER ?=

up_flags := $(if $(WORKERS),--workers $(WORKERS)) $(if $(PORT),--port $(PORT)) \
            $(if $(MONITORING),$(if $(filter 0 false no off,$(MONITORING)),--no-monitoring,--monitoring))

.PHONY: help setup build client up down logs status reset test test-crate verify generate fmt lint

help: ## show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24
	@echo
	@echo '  Variables of up: WORKERS=n PORT=n MONITORING=1, and any setting, such as ENABLE_CACHE=false'

setup: ## install build and run dependencies (Postgres, RabbitMQ, Redis, ffmpeg, libtorch)
	@scripts/fleet setup
	@scripts/setup-libtorch

build: ## set up and build everything; afterwards target/release/worker runs without further setup
	@scripts/fleet build

client: ## build only the command-line client, target/release/fleet; needs nothing but Rust
	@cargo build --release -p cli

up: ## build, start the whole fleet on this machine, and print its address
	@scripts/fleet up --build $(up_flags)

down: ## stop the fleet and keep its data
	@scripts/fleet down

logs: ## follow the logs
	@scripts/fleet logs

status: ## show which processes are running
	@scripts/fleet status

reset: ## delete all jobs and videos of this checkout
	@scripts/fleet reset

test: ## set up and run every check and test (as in CI)
	@scripts/run-tests

test-crate: ## lint, and test one crate: CRATE=store, with FILTER=claims only tests with such names
	@scripts/test-crate "$(CRATE)" $(FILTER)

verify: ## run everything: tests, fault runs, image builds and benchmarks; PARTS="backup join" selects parts
	@scripts/run-verify --write $(PARTS)

generate: build ## update every generated file: queries, metrics page, API description, page types, dashboards, chart
	@scripts/generate

fmt: ## format the code
	@cargo fmt --all

lint: ## check formatting, lints and wording only
	@scripts/check-words
	@cargo fmt --all --check
	@cargo clippy --release --workspace --all-targets -- -D warnings

# Every folder benches/NAME with an executable `run` is `make bench-NAME`.
bench-%:
	@test -x benches/$*/run || { echo "unknown benchmark; available: $(notdir $(patsubst %/run,%,$(wildcard benches/*/run)))"; exit 2; }
	@benches/$*/run
