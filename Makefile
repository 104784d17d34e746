# What can be done here: `make` or `make help` says. Everything lands in .venv, .cache and var; nothing elsewhere.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
DATA ?=
SIZE ?= small
ENV := . bin/env &&

.PHONY: help setup graphframes demo jobboard test lint airflow docs lock clean bench-retrieval bench-embeddings bench-chains bench-graph

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## environments from the hashed locks, Delta's jars, Spark's configuration; says first what it downloads
	@bin/setup

graphframes: ## try GraphFrames' jars again (or: GRAPHFRAMES_JARS=a.jar:b.jar make graphframes)
	@bin/setup --graphframes

demo: setup ## the whole pipeline on a sample marketplace, ending with one seeker's candidates
	@bin/demo

jobboard: setup ## the same on a real job board: make jobboard DATA=../shared/data
	@bin/jobboard "$(DATA)"

test: setup lint ## every test
	@$(ENV) python -m pytest tests --ignore tests/dags -n 2 --dist loadfile --no-loadscope-reorder
	@$(ENV) .venv/airflow/bin/python -m pytest tests/dags

lint: setup ## ruff, and mypy on the public surface
	@$(ENV) ruff check .
	@$(ENV) ruff format --check .
	@$(ENV) mypy

bench-retrieval: ## the index against other engines, SIZE=small or full; sets up .venv/bench first
	@bin/setup --bench
	@$(ENV) OMP_NUM_THREADS=2 OPENBLAS_NUM_THREADS=2 NUMBA_NUM_THREADS=2 .venv/bench/bin/python -m benchmarks.retrieval --size $(or $(SIZE),small)

bench-embeddings: ## job vectors against Word2Vec (gensim, Spark), item-kNN, iALS, popularity (ONLY=speed, planted, jobboard, lift, boards or large)
	@bin/setup --bench
	@$(ENV) OPENBLAS_NUM_THREADS=1 .venv/bench/bin/python benchmarks/embeddings.py --size "$(SIZE)" --data "$(DATA)" $(if $(ONLY),--only $(ONLY)) $(if $(OURS),--ours) $(if $(SHARES),--shares $(SHARES))

bench-chains: setup ## what cutting chains costs as events grow tenfold (SIZE=small: to 3M; full: to 50M; or EVENTS=...)
	@$(ENV) python -m benchmarks.chains --size "$(SIZE)" $(if $(EVENTS),--events $(EVENTS))

bench-graph: setup ## the segment graph on planted links, beside the ratio scorer and the naive explode (SIZE=small or full)
	@$(ENV) python -m benchmarks.graph --size "$(SIZE)" --data "$(DATA)"

airflow: setup ## scheduler and web UI with the DAGs in place, on 127.0.0.1
	@bin/airflow

docs: setup ## docs/data_dictionary.md anew from schemas/
	@$(ENV) python -m schemas docs/data_dictionary.md

lock: ## requirements/*.txt anew from requirements/*.in (UPGRADE=--upgrade for the newest that fit)
	@bin/setup --lock $(UPGRADE)

clean: ## remove what the demo, the job board and Airflow left in var; environments stay
	rm -rf var .mypy_cache .ruff_cache .pytest_cache .hypothesis spark-warehouse
