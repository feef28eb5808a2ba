# Everything works on a fresh clone: each target creates .venv and installs what it needs, once.
#
# .venv holds one build of PaddlePaddle, the CPU build unless GPU=1 is given. .venv/.build remembers which, so that a
# later `make test` keeps it; GPU=0 or another CUDA changes it. A build is named cpu, cu126, cu129, ...
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CHOSEN := $(shell cat $(VENV)/.build 2>/dev/null)
CUDA ?= $(firstword $(filter-out cpu,$(CHOSEN)) cu126)
BUILD := $(if $(GPU),$(if $(filter 0,$(GPU)),cpu,$(CUDA)),$(or $(CHOSEN),cpu))
EXTRA := $(if $(filter cpu,$(BUILD)),cpu,gpu)
# The public package index ends at paddlepaddle-gpu 2.6.2; newer builds are in PaddlePaddle's own index, one per CUDA.
INDEX := $(if $(filter gpu,$(EXTRA)),--extra-index-url https://www.paddlepaddle.org.cn/packages/stable/$(BUILD)/)
STAMP := $(VENV)/.installed-$(BUILD)
RUN := runs/quickstart/$(shell date +%Y-%m-%d_%H-%M-%S)
PADDLE ?= 2.6.2
PADDLE_VENV := .venv-paddle-$(PADDLE)

.PHONY: install quickstart test test-paddle lint hooks chaos docs docs-test wheel bench clean help

install: $(STAMP)  ## create .venv with the CPU build; GPU=1 selects the GPU build, for CUDA=cu126 unless given

# Two builds share one folder of site-packages, so a change of build removes the other first.
$(STAMP): setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info < (3, 11) and sys.exit("$(PYTHON) is older than 3.11: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	test -e $@ || $(BIN)/python -m pip uninstall --yes --quiet paddlepaddle paddlepaddle-gpu 2>/dev/null
	rm -f $(VENV)/.installed-*
	echo $(BUILD) > $(VENV)/.build
	$(BIN)/python -m pip install --quiet $(INDEX) --editable '.[$(EXTRA),test,lint]'
	$(if $(INDEX),$(BIN)/python -c 'import paddle; paddle.utils.run_check()')
	touch $@

quickstart: install  ## train on handwritten digits, evaluate, write a submission
	$(BIN)/python tools/train.py -c configs/quickstart.yaml --run $(RUN)
	$(BIN)/python tools/eval.py $(RUN) --split test
	$(BIN)/python tools/submit.py $(RUN) --out submissions/quickstart.csv
	@echo
	@echo "Made: $(RUN) (report.html, checkpoints, metrics.csv, evaluation_test.json, confusion_test.png)"
	@echo "      submissions/quickstart.csv"
	@echo "See the curves: $(BIN)/python tools/board.py $(RUN)"

# One thread for each test process: many small networks gain more from processes than from threads. Three processes for
# two cores, since some tests wait for a clock.
test: install  ## run the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist worksteal

test-paddle: $(PADDLE_VENV)/.installed  ## run the tests with another CPU build, in its own environment: PADDLE=3.0.0
	OMP_NUM_THREADS=1 $(PADDLE_VENV)/bin/python -m pytest -n 3 --dist worksteal

# setuptools: `import paddle` needs it and, before 3.3, does not declare it.
$(PADDLE_VENV)/.installed: pyproject.toml
	test -x $(PADDLE_VENV)/bin/python || $(PYTHON) -m venv $(PADDLE_VENV)
	$(PADDLE_VENV)/bin/python -m pip install --quiet paddlepaddle==$(PADDLE) setuptools --editable '.[test]'
	touch $@

lint: install  ## check style, layering and types
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/python -m mypy

hooks: install  ## run the checks of `make lint` before each commit
	$(BIN)/pre-commit install

# 200 kills of training runs at random moments, full disks and a read-only one, 2,000 examples of each property.
chaos: install  ## kill training runs 200 times; fill and lock disks; run the long tests
	PADDLECNN_KILLS=100 PADDLECNN_FEATURE_KILLS=10 OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/training -k "killed_again or disk"
	PADDLECNN_EXAMPLES=2000 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 tests/test_config_property.py \
		tests/data/test_hostile_archives.py tests/models/test_weights_property.py tests/onednn/test_gradients.py
	PADDLECNN_LONG=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 tests/real tests/benchmarks tests/onednn \
		tests/evaluation/test_export.py

wheel: install  ## build the wheel, install it with its dependencies into a new environment, train with it
	rm -rf build/wheel && mkdir -p build/wheel
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir build/wheel .
	$(PYTHON) -m venv build/wheel/venv
	build/wheel/venv/bin/python -m pip install --quiet $(INDEX) "$$(ls build/wheel/*.whl)[$(EXTRA)]"
	cd build/wheel && venv/bin/paddlecnn train -c ../../configs/quickstart.yaml -o train.epochs=1 --run run

docs: install  ## build the pages and the API reference as a site in build/site
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	$(BIN)/python docs/pages.py
	$(BIN)/mkdocs build --strict --quiet
	@echo "build/site/index.html"

# The Chinese notebooks have the same code and output; a test compares them.
docs-test: install  ## run the notebooks in docs/notebooks, which train on small budgets
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --nbmake docs/notebooks --ignore docs/notebooks/zh

bench: install  ## measure speed
	$(BIN)/python tools/benchmark.py lrn
	$(BIN)/python tools/benchmark.py data

clean:  ## remove the environments and build leftovers
	rm -rf .venv .venv-paddle-* build *.egg-info

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22
	@echo "Build of PaddlePaddle in .venv: $(or $(CHOSEN),none yet)"
