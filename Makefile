# Everything works on a fresh clone: each target makes .venv and installs what it needs, once.
# GPU=1 installs the GPU build of PaddlePaddle in place of the CPU build.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRA := $(if $(GPU),gpu,cpu)
STAMP := $(VENV)/.installed-$(EXTRA)
RUN := runs/quickstart/$(shell date +%Y-%m-%d_%H-%M-%S)

.PHONY: install quickstart test lint chaos bench clean

install: $(STAMP)

$(STAMP): setup.py pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[$(EXTRA),test]'
	touch $@

quickstart: install
	$(BIN)/python tools/train.py -c configs/quickstart.yaml --run $(RUN)
	$(BIN)/python tools/eval.py $(RUN) --split test
	$(BIN)/python tools/submit.py $(RUN) --out submissions/quickstart.csv
	@echo
	@echo "Made: $(RUN) (checkpoints, metrics.csv, evaluation_test.json, confusion_test.png)"
	@echo "      submissions/quickstart.csv"
	@echo "See the curves: $(BIN)/visualdl --logdir $(RUN)/vdl --host 127.0.0.1 --port 8040 --language en --disable-telemetry"

# Two test processes, one thread each: many small nets gain more from two processes than from two threads.
test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

lint: install
	$(BIN)/python -m ruff check .

# 100 kills of a training run at random moments, full disks and a read-only one; about 8 minutes.
chaos: install
	PADDLECNN_KILLS=100 OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/training -k "killed_again or disk"

bench: install
	$(BIN)/python tools/benchmark.py lrn
	$(BIN)/python tools/benchmark.py data

clean:
	rm -rf $(VENV) build *.egg-info
