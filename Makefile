PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# On a busy machine threads that spin while they wait slow torch down many times over.
export OMP_WAIT_POLICY ?= passive

.DEFAULT_GOAL := help
.PHONY: help setup test test-slow check docs demo serve bench soak container-test audit clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## create .venv with every pinned package (PYTHON=python3.12 to choose one)

# Written last, so that an interrupted installation is taken up again.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info < (3, 14) or sys.exit("got Python %d.%d from $(PYTHON), expected 3.11 to 3.13: name one with make setup PYTHON=/path/to/python3.12" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

# Each test uses one core; a file's tests stay together, because they share what is trained for them.
TOGETHER := --numprocesses auto --maxprocesses 4 --dist loadfile
# A test that hangs is ended and named; a new worker in its place would leave the run waiting.
GUARDED := -o faulthandler_timeout=900 -o faulthandler_exit_on_timeout=true --max-worker-restart 0
test: setup  ## run the tests and the examples of the guide
	$(BIN)/python -m pytest $(TOGETHER) $(GUARDED)

test-slow: setup  ## run the tests that take longer
	$(BIN)/python -m pytest $(TOGETHER) -m "slow and not gpu and not container"

check: setup  ## lint, format, types, import direction, docstrings
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest --quiet tests/test_project.py

docs: setup  ## build the documentation, and run its gallery, in docs/_build/html; a warning fails
	$(BIN)/sphinx-build --fail-on-warning --keep-going --fresh-env --quiet $(SPHINX_OPTIONS) -b html docs docs/_build/html

demo: setup  ## impute a real series and write tables and pictures to demo_output/
	$(BIN)/python -m tsimpute.demo

serve: setup  ## run the service with the demo model on http://127.0.0.1:8000
	$(BIN)/python -m api.demo_model demo_output/models/demo/1
	TSIMPUTE_DOCS_PAGE=true $(BIN)/python -m uvicorn api.main:app --http api.protocol:PatientProtocol --no-access-log

soak: setup  ## 10,000 requests to the service, one client in ten killed
	$(BIN)/python benchmarks/service/soak.py

CONTAINER_IMAGE ?= tsimpute:cpu
CONTAINER_BUILD ?= docker build
container-test: setup  ## build the image and run it, read-only and without capabilities; needs Docker
	$(CONTAINER_BUILD) -t $(CONTAINER_IMAGE) .
	CONTAINER_IMAGE=$(CONTAINER_IMAGE) $(BIN)/python -m pytest -m container tests/test_container_running.py

audit:  ## known weaknesses of the pinned packages; needs pip-audit and a network
	@command -v pip-audit >/dev/null || { echo "pip-audit is not installed: pipx install pip-audit"; exit 1; }
	pip-audit --no-deps --requirement requirements.lock

bench: setup  ## measure speed against peers
	$(BIN)/python benchmarks/speed/run.py

clean:  ## remove the environment, caches and everything that was built
	rm -rf $(VENV) build dist demo_output docs/_build docs/gallery
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find tsimpute tests benchmarks -type d -name __pycache__ -prune -exec rm -rf {} +
