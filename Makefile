# OpenLipSync: `make demo` dubs a real face, `make test` checks everything. Both set up .venv first and reuse it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python

.PHONY: help demo test test-portable test-host test-web lint bench clean

help:
	@echo "make demo   set up .venv, make a clip of a real face and dub it into demo/"
	@echo "make test   set up .venv and run the whole test suite"
	@echo "make test-portable   the fast part of it as on other processors (half an hour)"
	@echo "make test-host   run the nodes and workflows in a real ComfyUI, which it puts into .host/ (2 GB, 2 minutes) or finds at COMFYUI_PATH"
	@echo "make test-web    open the workflows in ComfyUI's page with Chromium, press Run, take screenshots into build/web/"
	@echo "make lint   ruff"
	@echo "make bench  the benchmarks (minutes)"
	@echo "make clean  remove .venv, .host, build/, demo/ and caches"

$(VENV)/.ready: requirements.txt constraints.txt
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 10))" || { echo "Python 3.10 or newer is needed: make PYTHON=/path/to/python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --disable-pip-version-check --quiet -r requirements.txt -c constraints.txt
	@touch $@

$(VENV)/.ready-test: $(VENV)/.ready requirements-test.txt requirements-train.txt requirements-musetalk.txt requirements-service.txt requirements-cluster.txt requirements-sign.txt
	$(PY) -m pip install --disable-pip-version-check --quiet -r requirements-test.txt -c constraints.txt
	@touch $@

demo: $(VENV)/.ready
	$(PY) -m lipsync_core demo -o demo

test: $(VENV)/.ready-test
	$(PY) -m ruff check .
	$(PY) -m pytest

# The fast part of the suite as on other processors: tests/portable.py says which.
test-portable: $(VENV)/.ready-test
	$(PY) tests/portable.py $(ARGS)

$(VENV)/.ready-test-host: $(VENV)/.ready-test tests/host/requirements.txt
	$(PY) -m pip install --disable-pip-version-check --quiet -r tests/host/requirements.txt -c constraints.txt
	@touch $@

test-host: $(VENV)/.ready-test-host
	$(PY) tests/host/setup_host.py
	OPENLIPSYNC_HOST_TESTS=1 $(PY) -m pytest -v --log-cli-level=INFO tests/host $(ARGS)

$(VENV)/.ready-test-web: $(VENV)/.ready-test-host tests/web/requirements.txt
	$(PY) -m pip install --disable-pip-version-check --quiet -r tests/web/requirements.txt -c constraints.txt
	@touch $@

test-web: $(VENV)/.ready-test-web
	$(PY) tests/host/setup_host.py
	OPENLIPSYNC_WEB_TESTS=1 $(PY) -m pytest -v tests/web $(ARGS)

lint: $(VENV)/.ready-test
	$(PY) -m ruff check .

bench: $(VENV)/.ready
	$(PY) benchmarks/transcode_ratio.py
	$(PY) benchmarks/memory.py
	$(PY) benchmarks/pixels.py
	$(PY) benchmarks/faces.py
	$(PY) benchmarks/articulation.py

clean:
	rm -rf $(VENV) .host build demo .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
