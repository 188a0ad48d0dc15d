# make help shows what there is. Whatever needs root takes it by sudo; what it makes here stays yours.
SHELL := /bin/bash
ROOT := scripts/as_root.sh
TESTBED := .venv/bin/testbed
VENV_PYTHON := .venv/bin/python
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup image doctor demo test test-netem unit smoke bench bench-fidelity bench-fedfly bench-edgemove bench-orchestrator bench-serverless up down lint clean need-setup

help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: ## Install and start what is missing (asks first; YES=1 does not ask)
	@scripts/setup.sh

image: ## Build the image that nodes run, if its inputs changed
	@$(ROOT) scripts/image.sh

doctor: need-setup ## Say what this machine can do, and what to do about the rest
	@$(ROOT) $(TESTBED) doctor

demo: setup ## A device walks away in mid-training: restart against migration, with a report
	@$(ROOT) $(TESTBED) run topologies/fedfly.yaml

test: setup lint ## Lint, types and every test
	@$(ROOT) env ROAMBED_REQUIRE_DOCKER=1 scripts/test.sh

test-netem: setup ## Both kinds of links side by side, where the kernel has netem: here, or in user-mode-linux
	@$(ROOT) scripts/test_netem.sh

unit: need-setup lint ## Lint, types and the tests that need neither root nor containers
	@$(VENV_PYTHON) -m pytest tests/unit -m 'not root and not docker'

smoke: setup ## The smallest experiment, in about a minute; writes build/smoke-junit.xml
	@$(ROOT) $(TESTBED) run topologies/smoke.yaml --junit build/smoke-junit.xml

bench: setup ## Measure, side by side (benchmarks/)
	@for file in benchmarks/*.py; do echo "== $$file"; $(ROOT) $(VENV_PYTHON) $$file || exit; done

bench-fidelity: setup ## Asked against measured, into docs/fidelity.md (QUICK=1, OUT=DIR; INSTALL=1 compares with vde2)
	@$(ROOT) $(VENV_PYTHON) -m benchmarks.fidelity $(if $(QUICK),--quick) $(if $(INSTALL),--install) $(if $(OUT),--out "$(OUT)")

bench-fedfly: setup ## FedFly's experiment and beyond, into docs/fedfly.md (QUICK=1, OUT=, SEEDS=5; DATA= CIFAR-10, TRACES= movement)
	@$(ROOT) $(VENV_PYTHON) -m benchmarks.fedfly $(if $(QUICK),--quick) $(if $(OUT),--out "$(OUT)") \
	  $(if $(DATA),--data "$(DATA)") $(if $(SEEDS),--seeds $(SEEDS)) $(if $(TRACES),--traces "$(TRACES)")

bench-edgemove: setup ## EdgeMove's pipelines against bounds and baselines, into docs/edgemove.md (QUICK=1, OUT=, SEEDS=5, DATA=, TRACES=)
	@$(ROOT) $(VENV_PYTHON) -m benchmarks.edgemove $(if $(QUICK),--quick) $(if $(OUT),--out "$(OUT)") \
	  $(if $(DATA),--data "$(DATA)") $(if $(SEEDS),--seeds $(SEEDS)) $(if $(TRACES),--traces "$(TRACES)")

bench-orchestrator: setup ## Decision time and quality for 10 to 10,000 units, into docs/orchestrator.md (QUICK=1, OUT=DIR)
	@$(VENV_PYTHON) -m benchmarks.orchestrator $(if $(QUICK),--quick) $(if $(OUT),--out "$(OUT)")

bench-serverless: setup ## The serverless platform against baselines, small data against all, into docs/serverless.md (QUICK=1, OUT=, SEEDS=5, DATA=)
	@$(ROOT) $(VENV_PYTHON) -m benchmarks.serverless $(if $(QUICK),--quick) $(if $(OUT),--out "$(OUT)") \
	  $(if $(DATA),--data "$(DATA)") $(if $(SEEDS),--seeds $(SEEDS))

up: need-setup ## Build a topology and leave it standing: make up TOPO=topologies/smoke.yaml
	@test -n "$(TOPO)" || { echo "error: which topology? make up TOPO=topologies/smoke.yaml" >&2; exit 2; }
	@$(ROOT) $(TESTBED) up "$(TOPO)"

down: need-setup ## Take the standing topology down
	@$(ROOT) $(TESTBED) down

lint: need-setup ## Style and types
	@$(VENV_PYTHON) -m ruff check .
	@$(VENV_PYTHON) -m mypy

clean: need-setup ## Remove what dead runs left: containers, namespaces, processes
	@$(ROOT) $(TESTBED) clean

need-setup:
	@test -x $(TESTBED) || { echo "error: not set up yet; do: make setup" >&2; exit 3; }
