# make demo: install as a user would and complete the example cohort.
# make test: lint, types, layering and tests; `make slow` runs the tests that take minutes.
# make coverage: all tests, slow ones too, and which lines of the code they reach.
# make bank COHORT=folder: train what is not trained yet, and build the wheels of all of it.
PYTHON ?= python3.11
DEMO := .venv-demo/bin
TEST := .venv-test/bin
OUT := demo-output
RECIPE ?= plugins/tcga.toml
SPLIT ?= plugins/tcga_split.csv
BANK ?= dist/projects
# Neighbours share fixtures, so they stay on one worker.
WORKERS := -n auto --dist worksteal
# Errors alone are shown: hosts' settings make pip warn of what nobody here can mend.
INSTALL := pip install -qq

.PHONY: demo test slow coverage bank clean

demo: .venv-demo/installed
	$(DEMO)/codenoise experts list
	$(DEMO)/codenoise impute examples/tcga/cohort --ensemble examples/tcga/ensemble.toml \
		--output $(OUT)/imputed --draws 20 --overwrite
	$(DEMO)/codenoise evaluate truth $(OUT)/imputed --truth examples/tcga/truth

# Builds leave folders beside what they build, and take up old ones: they are given a copy.
.venv-demo/installed: pyproject.toml constraints.txt $(wildcard codenoise/*.py* analysis/*.py core/*/*.py core/*/*/*.py evaluation/*.py evaluation/*/*.py registry/*/*.py cli/*.py) $(wildcard plugins/*/*/*.json)
	$(PYTHON) -m venv --clear .venv-demo
	mkdir .venv-demo/source
	tar -cf - --exclude='./.*' --exclude='./$(OUT)' --exclude=build --exclude='*.egg-info' . \
		| tar -xf - -C .venv-demo/source
	$(DEMO)/$(INSTALL) --constraint constraints.txt setuptools .venv-demo/source
	$(DEMO)/$(INSTALL) --no-build-isolation .venv-demo/source/plugins/codenoise-*/
	rm -r .venv-demo/source
	touch $@

test: .venv-test/installed
	$(TEST)/ruff check .
	$(TEST)/ruff format --check .
	$(TEST)/mypy --num-workers auto -p codenoise
	$(TEST)/lint-imports
	$(TEST)/pytest $(WORKERS)

slow: .venv-test/installed
	$(TEST)/pytest $(WORKERS) -m slow

coverage: .venv-test/installed
	$(TEST)/pytest $(WORKERS) -m "" --cov --cov-report=term:skip-covered

.venv-test/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear .venv-test
	$(TEST)/$(INSTALL) --constraint constraints.txt setuptools --editable ".[dev]"
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
