# `make demo`, `make test` and `make trials` each make .venv, install, and run.
# PYTHON is any Python from 3.11 on.
PYTHON ?= python3
BIN = .venv/bin

.PHONY: demo test trials lint clean

demo: .venv/demo
	$(BIN)/jaxseg train --config=experiments/shapes/recurrent.py --workdir=runs/demo
	$(BIN)/jaxseg evaluate --workdir=runs/demo --split=test
	@echo "curves: runs/demo/curves.png"
	@echo "images (input, truth, prediction): runs/demo/predictions/"

test: .venv/test
	$(BIN)/ruff check .
	$(BIN)/python -m pytest

# The tests that `make test` leaves out: more cases of its tests, and longer runs.
trials: .venv/test
	$(BIN)/python -m pytest -m trials

lint: .venv/test
	$(BIN)/ruff check . --fix

# The installation is editable and its stamp depends on setup.cfg: it is done once, and again when the dependencies change.
.venv/demo: setup.cfg
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "jaxseg needs Python 3.11 or newer: make $(MAKECMDGOALS) PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[plot,tensorboard]'
	touch $@

.venv/test: setup.cfg .venv/demo
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[plot,tensorboard,test]'
	touch $@

clean:
	rm -rf .venv build *.egg-info
