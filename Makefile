# The project's tasks. `make demo` and `make test` set up what they need in .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install demo test quick lint fix bench docs clean

install: .venv/installed

.venv/installed: pyproject.toml requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "this is Python %d.%d; Palaver needs 3.11: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements.txt -e '.[all,test,lint]'
	@touch $@

demo: install
	$(BIN)/python -m palaver demo $(ARGS)

test: install
	$(BIN)/python -m pytest $(ARGS)

quick: install
	$(BIN)/python -m pytest -m "not system" $(ARGS)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy palaver *.py
	$(BIN)/mypy tests
	$(BIN)/mypy benchmarks tools

fix: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install
	$(BIN)/python benchmarks/fanout.py
	$(BIN)/python benchmarks/engine.py
	$(BIN)/python benchmarks/rollouts.py
	$(BIN)/python benchmarks/client.py
	$(BIN)/python benchmarks/logs.py
	$(BIN)/python benchmarks/scale_model.py
	$(BIN)/python benchmarks/pause.py
	$(BIN)/python benchmarks/conversations.py
	$(BIN)/python benchmarks/chaos.py
	$(BIN)/python benchmarks/chaos.py --log nats
	$(BIN)/python benchmarks/fuzz_frames.py
	$(BIN)/python benchmarks/restart.py
	$(BIN)/python benchmarks/crowd.py

docs: install
	$(BIN)/python tools/make_docs.py

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache
