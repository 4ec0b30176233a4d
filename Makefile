# `make help` lists what there is. Everything real happens in scripts/; this file only names it.

.DEFAULT_GOAL := help
SHELL := /bin/bash

# Settings may be given as variables: make up WORKERS=3 PORT=9000 MONITORING=1 ENABLE_CACHE=false
WORKERS ?=
PORT ?=
MONITORING ?=
PARTS ?=

up_flags := $(if $(WORKERS),--workers $(WORKERS)) $(if $(PORT),--port $(PORT)) \
            $(if $(MONITORING),$(if $(filter 0 false no off,$(MONITORING)),--no-monitoring,--monitoring))

.PHONY: help setup build up down logs status reset test verify fmt lint web

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24
	@echo
	@echo '  Variables of up: WORKERS=n PORT=n MONITORING=1, and any setting, such as ENABLE_CACHE=false'

setup: ## fetch what building and running need (Postgres, RabbitMQ, Redis, ffmpeg, libtorch)
	@scripts/fleet setup
	@scripts/setup-libtorch

build: setup ## set up and build everything; target/release/worker then runs as it is
	@cargo build --release --bins
	@scripts/build-web

up: build ## start the whole fleet on this machine and print its address
	@scripts/fleet up $(up_flags)

down: ## stop it; the data stay
	@scripts/fleet down

logs: ## follow the logs
	@scripts/fleet logs

status: ## show what runs
	@scripts/fleet status

reset: ## delete this checkout's jobs and videos
	@scripts/fleet reset

test: ## set up and run every check and test (what CI runs)
	@scripts/run-tests

verify: ## the long run: test, then fault runs, image builds and benchmarks; PARTS="backup join" for some
	@scripts/run-verify --write $(PARTS)

fmt: ## format the code
	@cargo fmt --all

lint: ## formatting, lints and wording only
	@scripts/check-words
	@cargo fmt --all --check
	@cargo clippy --release --workspace --all-targets -- -D warnings

# Every folder benches/NAME with an executable `run` is `make bench-NAME`.
bench-%:
	@test -x benches/$*/run || { echo "no such benchmark; there are: $(notdir $(patsubst %/run,%,$(wildcard benches/*/run)))"; exit 2; }
	@benches/$*/run
