# Two commands matter: `make demo` shows the main job from nothing, `make test` passes the tests.
# Both need Python 3.13, git and make; Node comes from the machine or from a Python package.

PYTHON ?= python3.13
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
AZURITE := .local/azurite/.installed
KUSTO := .local/kusto/.installed

.PHONY: demo up test check soak fuzz bench-alert bench-diff bench-shadow bench-judge bench-judge-speed lint types imports docs lock clean

demo: $(STAMP) $(AZURITE)
	$(BIN)/python -m sandbox demo

up: $(STAMP) $(AZURITE)
	$(BIN)/python -m sandbox up

test: check

check: lint types imports $(AZURITE) $(KUSTO)
	$(BIN)/python -m pytest --numprocesses=auto --dist=loadfile --no-loadscope-reorder --cov --cov-report=
	$(BIN)/coverage report
	$(BIN)/coverage report --include='shared/core/*' --fail-under=100

soak: $(STAMP)
	$(BIN)/python -m tests.faults.soak $(or $(N),100000)

fuzz: $(STAMP)
	$(BIN)/python -m tests.fuzz.run $(or $(N),1000000)

bench-alert: $(STAMP) $(AZURITE)
	$(BIN)/python -m bench.alert

bench-diff: $(STAMP)
	$(BIN)/python -m bench.diff

bench-judge: $(STAMP)
	$(BIN)/python -m bench.judge $(REPLICATES)

bench-judge-speed: $(STAMP)
	$(BIN)/python -m bench.judge_speed

bench-shadow: $(STAMP) $(AZURITE)
	$(BIN)/python -m bench.shadow

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

imports: $(STAMP)
	$(BIN)/lint-imports

docs: $(STAMP)
	$(BIN)/python docs/generate.py

lock: $(STAMP)
	$(BIN)/pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --no-emit-index-url --no-emit-find-links --strip-extras \
		--no-header --no-annotate -o requirements.txt pyproject.toml
	$(BIN)/pip-compile --quiet --no-emit-index-url --no-emit-find-links --strip-extras \
		--no-header --no-annotate --extra dev -c requirements.txt -o requirements-dev.txt pyproject.toml
	sed -i '/^linnet @/d' requirements-dev.txt

$(STAMP): requirements-dev.txt requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	$(BIN)/pip install -qq --disable-pip-version-check --no-deps -e .
	touch $@

.local/%/.installed: sandbox/%.py $(STAMP)
	$(BIN)/python -m sandbox.$*
	touch $@

clean:
	rm -rf $(VENV) .local build *.egg-info
