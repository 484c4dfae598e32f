# The two commands of a newcomer: `make quickstart` and `make test`.
VENV ?= .venv
BIN := $(VENV)/bin
# Numerical libraries use all cores in the quickstart; tests run one process a core with one thread each.
WORKERS ?= 2

.PHONY: quickstart test test-all check format schema wheel clean

$(VENV)/.vitrail-%: pyproject.toml scripts/install
	bash scripts/install $(VENV) $*

quickstart: $(VENV)/.vitrail-quickstart ## train a real multimodal model here, measure it, talk to it
	$(BIN)/vitrail quickstart

test: $(VENV)/.vitrail-dev ## the suite: under 20 minutes on two cores
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -m "not long"

test-all: $(VENV)/.vitrail-dev ## with the long tests: kill storms, floods, full matrices
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

check: $(VENV)/.vitrail-dev ## style, types, order of rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.vitrail-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

schema: $(VENV)/.vitrail-dev ## write the JSON schema of recipes for editors
	$(BIN)/vitrail recipe schema > docs/recipe.schema.json

wheel: $(VENV)/.vitrail-dev
	$(BIN)/python -m build --wheel --outdir dist

clean:
	rm -rf dist build .pytest_cache .mypy_cache .ruff_cache
