# One file for people and for CI. Every target sets up .venv by itself when pyproject.toml changed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test check fix clean bench-retrieval bench-demand

demo: $(READY) ## the main job, end to end, on a real shop's log
	$(BIN)/footfall demo

test: $(READY) ## every test; those whose server is missing are skipped with a reason
	$(BIN)/pytest -n 2 --dist loadgroup

check: $(READY) ## lint, types, architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python benchmarks/tables.py --check

fix: $(READY) ## what can be mended by machine
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench-retrieval: $(READY) ## make bench-retrieval FILE=Beauty.txt: public leave-one-out figures, see benchmarks/retrieval.py
	$(BIN)/python benchmarks/retrieval.py "$(FILE)" --seeds 0 1 2 --json benchmarks/results/retrieval.json

bench-demand: $(READY) ## make bench-demand DATA=folder PANEL=daily: rolling-origin figures, see benchmarks/demand.py
	$(BIN)/python benchmarks/demand.py "$(or $(PANEL),daily)" --data "$(DATA)" --json benchmarks/results/demand-$(or $(PANEL),daily).json

clean: ## remove the environment and what the demo wrote
	rm -rf $(VENV) demo footfall-store

$(READY): pyproject.toml
	@echo "Setting up $(VENV): about 3 GB of packages, a few minutes"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade "pip>=24" "setuptools>=77"
	@$(BIN)/python -m pip install --quiet -e ".[test]"
	@touch $(READY)
