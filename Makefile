# Everything here is a line that could be typed by hand; `make help` lists the targets.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
DATA ?= shapes
TABLE ?= 1,2,3,5
PRESET ?=
SEEDS ?= 1
WORKERS ?= -n 2 --dist worksteal

# Commands that are printed to type next work without an activated environment.
RUN := DEEPLAB_PROGRAM='$(BIN)/deeplab {}' $(BIN)/python

# torch brings its own build for the machine, CPU or CUDA
FREEZE := --all --exclude pip --exclude deeplabv3plus | sed -E '/^(cuda|nvidia|triton)/d; s/\+.*//'

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev train data ablations test test-extras test-lowest coverage check format docs package bench gpu-check lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.complete ## make .venv with the command deeplab and what it needs (requirements.lock)

$(VENV)/.complete: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}: make setup PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

setup-dev: $(VENV)/.complete-dev ## add what tests and checks need (requirements-dev.lock)

$(VENV)/.complete-dev: $(VENV)/.complete requirements-dev.lock
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements-dev.lock
	@touch $@

train: setup ## train the default experiment; ARGS="backbone=xception ..." changes it
	$(RUN) src/train.py $(ARGS)

data: setup ## make a data set ready: DATA=voc, coco, cityscapes ...; ARGS="source=/my/files"
	$(RUN) src/prepare.py data=$(DATA) $(ARGS)

ablations: setup ## run tables of the paper and report: TABLE=2 PRESET=paper SEEDS=3; quick: drawn scenes
	$(RUN) src/train.py -m "ablation=$(shell echo '$(TABLE)' | sed -E 's/(^|,)([0-9])/\1table\2/g')" $(if $(PRESET),"preset=$(PRESET)") num_seeds=$(SEEDS) $(ARGS)

test: setup-dev ## run the tests
	$(BIN)/python -m pytest $(WORKERS) $(ARGS)

test-extras: $(VENV)-extras/.complete ## run the tests with the newest releases, also those with torchvision, timm, TensorFlow and onnxruntime
	$(VENV)-extras/bin/python -m pytest -m 'not processes and not gpu' $(WORKERS) $(ARGS)

$(VENV)-extras/.complete: pyproject.toml
	$(PYTHON) -m venv $(VENV)-extras
	$(VENV)-extras/bin/python -m pip install --disable-pip-version-check -e '.[convert,demo,export,huggingface,parquet,peers,s3,tests]'
	@touch $@

test-lowest: $(VENV)-lowest/.complete ## run the tests with the lowest releases that pyproject.toml admits
	$(VENV)-lowest/bin/python -m pytest $(WORKERS) $(ARGS)

$(VENV)-lowest/.complete: pyproject.toml
	$(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/python -m pip install --disable-pip-version-check uv
	$(VENV)-lowest/bin/uv pip install --python $(VENV)-lowest/bin/python --resolution lowest-direct -e '.[tests]'
	@touch $@

coverage: setup-dev ## run the tests and print the part of the code that they run; ARGS="-m processes" others
	rm -rf build/coverage && mkdir -p build/coverage
	-$(BIN)/python -m coverage run -m pytest $(WORKERS) $(ARGS) # it fails where a test fills the disk
	$(BIN)/python -m coverage combine -q
	$(BIN)/python -m coverage report --skip-covered --sort=cover

check: setup-dev ## lint, format, import order and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PYTHONPATH=src $(BIN)/lint-imports --no-logo
	$(BIN)/mypy

format: setup-dev ## let ruff rewrite what check complains about
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup-dev ## build the site of the documentation into build/docs; warnings are errors
	$(BIN)/sphinx-build -W --keep-going -q -c docs . build/docs
	@echo "Open build/docs/docs/index.html"

package: setup-dev ## build a wheel into dist/
	rm -rf dist
	$(BIN)/python -m pip wheel --disable-pip-version-check --no-deps --no-build-isolation -q -w dist .
	@ls dist

bench: setup-dev ## measure everything against the obvious alternatives, into build/benchmarks
	$(BIN)/python src/benchmark.py --output-dir build/benchmarks

gpu-check: setup-dev ## compare the GPU with the CPU and measure it, into build/gpu_check; minutes
	PYTHONPATH=src:tests $(BIN)/python tests/support/gpu_check.py build/gpu_check

lock: ## write both lock files anew from pyproject.toml; pins stay, a deleted one becomes the newest release
	rm -rf $(VENV)-lock
	$(PYTHON) -m venv $(VENV)-lock
	grep -hv '^-r' requirements.lock requirements-dev.lock > $(VENV)-lock/pins
	$(VENV)-lock/bin/python -m pip install --disable-pip-version-check -c $(VENV)-lock/pins .
	$(VENV)-lock/bin/python -m pip freeze $(FREEZE) > requirements.lock
	$(VENV)-lock/bin/python -m pip install --disable-pip-version-check -c $(VENV)-lock/pins '.[dev]'
	(echo '-r requirements.lock'; $(VENV)-lock/bin/python -m pip freeze $(FREEZE) | grep -vxFf requirements.lock) > requirements-dev.lock
	rm -rf $(VENV)-lock

clean: ## remove the environment and caches; data and runs stay
	rm -rf $(VENV) $(VENV)-extras $(VENV)-lowest .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
