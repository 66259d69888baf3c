# make demo: install as a user would and complete the example cohort.
# make test: lint, types, layering and tests, as CI runs them.
PYTHON ?= python3.11
DEMO := .venv-demo/bin
TEST := .venv-test/bin
OUT := demo-output

.PHONY: demo test clean

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

clean:
	rm -rf .venv-demo .venv-test $(OUT)
