# make demo and make test set up everything they need in .venv, on a machine with nothing but Python 3.11 or later.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-fast check docs bench lock clean

demo: .venv/ready
	$(BIN)/python examples/demo.py

test: .venv/ready-dev
	$(BIN)/python -m pytest

# Under two minutes on two cores: all tests but those marked slow.
test-fast: .venv/ready-dev
	$(BIN)/python -m pytest -m "not slow"

check: .venv/ready-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

# The pages of docs/ as a site that opens from the disk: build/docs/index.html.
docs: .venv/ready-dev
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --conf-dir docs --doctree-dir build/doctrees . build/docs
	@echo "open build/docs/index.html"

bench: .venv/ready-dev
	$(BIN)/pip install --quiet --constraint requirements.lock --editable '.[bench]'
	$(BIN)/python benchmarks/sft.py --shape small
	$(BIN)/python benchmarks/sft.py --shape 135M
	$(BIN)/python benchmarks/reward.py --shape small
	$(BIN)/python benchmarks/reward.py --shape 135M --rounds 3 --steps 1
	$(BIN)/python benchmarks/dpo.py --shape small
	$(BIN)/python benchmarks/dpo.py --shape 135M --rounds 3 --steps 1
	$(BIN)/python benchmarks/rollout.py --shape small
	$(BIN)/python benchmarks/rollout.py --shape 135M --rounds 3 --prompts 32
	$(BIN)/planish model get smollm2
	$(BIN)/python benchmarks/data.py speed
	$(BIN)/python benchmarks/data.py memory
	$(BIN)/python benchmarks/data.py hygiene

.venv/ready: pyproject.toml requirements.lock
	@echo "installing planish, PyTorch and what else it needs into .venv: a few minutes"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements.lock torch
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable .
	touch $@

.venv/ready-dev: .venv/ready
	@echo "installing the tools for tests and checks into .venv"
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[dev,docs]'
	touch $@

# Writes the exact versions of everything installed, after an update has been tried by hand.
lock: .venv/ready-dev
	$(BIN)/pip freeze --exclude-editable | sed 's/+cpu//' > requirements.lock

clean:
	rm -rf .venv build dist src/*.egg-info
