# make demo: install as a user would and complete the example cohort.
# make test: lint, types, layering and tests, as CI runs them.
# make bank COHORT=folder: train what is not trained yet, and build the wheels of all of it.
PYTHON ?= python3.11
DEMO := .venv-demo/bin
TEST := .venv-test/bin
OUT := demo-output
RECIPE ?= plugins/tcga.toml
SPLIT ?= plugins/tcga_split.csv
BANK ?= dist/projects

.PHONY: demo test bank clean

demo: .venv-demo/installed
	$(DEMO)/codenoise experts list
	$(DEMO)/codenoise impute examples/tcga/cohort --ensemble examples/tcga/ensemble.toml \
		--output $(OUT)/imputed --draws 20 --overwrite
	$(DEMO)/codenoise evaluate truth $(OUT)/imputed --truth examples/tcga/truth

.venv-demo/installed: pyproject.toml constraints.txt $(wildcard codenoise/*.py* core/*/*.py core/*/*/*.py evaluation/*.py evaluation/*/*.py registry/*/*.py cli/*.py) $(wildcard plugins/*/*/*.json)
	$(PYTHON) -m venv --clear .venv-demo
	$(DEMO)/pip install --quiet --constraint constraints.txt setuptools .
	$(DEMO)/pip install --quiet --no-build-isolation $(wildcard plugins/codenoise-*/)
	touch $@

test: .venv-test/installed
	$(TEST)/ruff check .
	$(TEST)/ruff format --check .
	$(TEST)/mypy -p codenoise
	$(TEST)/lint-imports
	$(TEST)/pytest -m "" -n auto --cov --cov-report=term:skip-covered

.venv-test/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear .venv-test
	$(TEST)/pip install --quiet --constraint constraints.txt setuptools --editable ".[dev]"
	touch $@

bank: .venv-test/installed
	@test -n "$(COHORT)" || { echo "say where the tables are: make bank COHORT=folder" >&2; exit 2; }
	$(TEST)/codenoise train bank $(COHORT) --recipe $(RECIPE) --split $(SPLIT) --output $(BANK)
	$(TEST)/codenoise train multi $(COHORT) --recipe $(RECIPE) --split $(SPLIT) --output $(BANK)
	for project in $(BANK)/codenoise-*; do \
		$(TEST)/codenoise experts package $$project --output dist --overwrite || exit 1; \
	done

clean:
	rm -rf .venv-demo .venv-test $(OUT)
