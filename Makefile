# make run    a virtual environment, MNIST, a first constrained model, and its table
# make test   the whole test suite
# make lint   style, format and types
# make docs   the documentation's site, in site/; make notebooks runs its notebooks anew

PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: run test lint docs notebooks benchmark clean

run: $(VENV)/.run
	$(BIN)/lagvae train "max mi s.t. neg_elbo <= 105, mmd <= 5e-4" --data mnist --out runs/first --overwrite

test: $(VENV)/.test
	$(BIN)/python -m pytest

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.test
	$(BIN)/python -m mkdocs build --strict
	@echo "open site/index.html"

notebooks: $(VENV)/.test
	$(BIN)/jupyter execute --inplace docs/notebooks/*.ipynb

benchmark: $(VENV)/.test
	$(BIN)/python benchmarks/step_time.py

# Each marker stands for one finished installation; the pins decide when it is out of date.
$(VENV)/.run: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -q -c constraints.txt torch
	$(PIP) install -q -c constraints.txt -e .
	@touch $@

$(VENV)/.test: $(VENV)/.run
	$(PIP) install -q -c constraints.txt -e ".[test,lint]"
	@touch $@

clean:
	rm -rf $(VENV) build site .pytest_cache .mypy_cache .ruff_cache .hypothesis
