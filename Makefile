# `make demo` and `make test` need git, make and Python 3.11 or newer; the rest is installed into .tools and .venv.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= $(shell command -v python3.11 || command -v python3)
UV := .tools/bin/uv
BIN := .venv/bin

.PHONY: env demo ui test test-services servers check bench soak docs lock clean help

env: .venv/.ready  ## install the locked packages into .venv, unless they are there

.tools/.ready: scripts/uv.txt
	$(PYTHON) -m venv .tools
	.tools/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r scripts/uv.txt
	touch $@

# One environment for all targets, so that a demo after the tests installs nothing. Without bytecode Airflow takes a
# minute longer to start.
.venv/.ready: .tools/.ready requirements-dev.txt pyproject.toml
	test -x $(BIN)/python || $(UV) venv --quiet --no-python-downloads --python $(PYTHON) .venv
	@echo 'Installing what requirements-dev.txt locks into .venv (1.7 GB on disk).'
	$(UV) pip sync --quiet --python .venv --require-hashes --compile-bytecode requirements-dev.txt
	$(UV) pip install --quiet --python .venv --no-build-isolation --no-deps -e .
	touch $@

demo: env  ## two tenants' DAGs on real and on synthetic data, and what to look at afterwards
	$(BIN)/python scripts/demo.py

ui: env  ## Airflow's web UI with the tenants' DAGs, on the embedded database; Ctrl-C ends it
	$(BIN)/python scripts/ui.py

test: env  ## every test that needs no server of its own; fails if none ran
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder -m 'not services and not soak'

# The browser's test is skipped where there is neither a browser nor a way to get one here.
servers:  # a browser, Redis, Maven with Java and a PostgreSQL with locales, where a package manager gives them and they are missing
	{ command -v chromedriver && command -v redis-server && command -v mvn && ls /usr/lib/postgresql/*/bin/initdb /usr/share/i18n/locales/en_US; } >/dev/null 2>&1 \
	  || test "$$(id -u)" != 0 || ! command -v apt-get >/dev/null \
	  || { apt-get update -qq && apt-get install -y -qq chromium chromium-driver redis-server maven postgresql locales; }

# Compiling an S3 server takes minutes where nothing is cached: it begins at once, and a test that needs it waits for it.
test-services: env servers  ## real servers and whole deployments of Airflow, as processes on loopback
	$(BIN)/python -m tests.services.versitygw & $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder tests/live tests/contract tests/integration -m 'services and not soak' --timeout 1800

check: env  ## lint, format, strict types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: env  ## the chain against the server's own COPY; rules and profiles against peers; a thousand tenants' DAGs
	$(BIN)/python -m bench
	$(BIN)/python -m bench merge
	$(BIN)/python -m bench pseudonyms
	$(BIN)/python -m bench quality
	$(BIN)/python -m bench formats
	$(BIN)/python -m bench dags
	$(BIN)/python -m bench kafka
	$(BIN)/python -m bench stream
	$(BIN)/python -m bench http
	$(BIN)/python -m bench postgresql
	$(BIN)/python -m bench airflow

soak: env  ## random kills, broken files, and a thousand tenants through Airflow's DAG processor, for a long time
	IMPORTERS_TEST_EXAMPLES=20 $(BIN)/pytest tests/unit -m hypothesis --timeout 0
	$(BIN)/pytest tests/soak tests/live tests/integration -m soak --timeout 0

docs: env  ## write docs/reference from the code, and build the site; a broken link is an error
	$(BIN)/python scripts/reference.py
	$(BIN)/zensical build --strict --clean
	@echo 'Open site/index.html; its search needs a server: $(BIN)/python -m http.server -d site --bind 127.0.0.1'

lock: .tools/.ready  ## resolve the dependencies anew
	bash scripts/lock.sh

clean:  ## remove what is installed and cached; .importers, which holds your data and key, stays
	rm -rf .venv .tools .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist

help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
