# make demo: the whole chain on a real model.  make test: the test suite.  Both set everything up.
VENV ?= .venv
export VENV
export OMP_WAIT_POLICY = passive
export GOMP_SPINCOUNT = 20000
RUN = $(VENV)/bin/python -m
CHECKED = aurora_release tests scripts bench

.PHONY: setup demo test coverage check fix bench docs clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt scripts/setup.sh
	sh scripts/setup.sh

demo: setup
	$(VENV)/bin/aurora demo

# the real llama.cpp, prebuilt in an npm package, for the tests of GGUF files; without npm they skip
$(VENV)/node: | setup
	command -v npm >/dev/null && npm install --silent --ignore-scripts --prefix $@ node-llama-cpp@3.22.1 || mkdir -p $@

PYTEST = pytest -n 2 --dist loadfile

test: setup $(VENV)/node
	OMP_NUM_THREADS=1 $(RUN) $(PYTEST)

# the same tests, half as long again
coverage: setup $(VENV)/node
	rm -f .coverage .coverage.*
	OMP_NUM_THREADS=1 $(RUN) coverage run -m $(PYTEST)
	$(RUN) coverage combine -q
	$(RUN) coverage report

check: setup
	$(RUN) ruff check $(CHECKED)
	$(RUN) ruff format --check $(CHECKED)
	$(RUN) mypy

fix: setup
	$(RUN) ruff check --fix $(CHECKED)
	$(RUN) ruff format $(CHECKED)

bench: setup
	$(RUN) bench
	$(RUN) bench.page

docs: setup
	$(RUN) scripts.build_docs

clean:
	rm -rf .coverage* .mypy_cache .pytest_cache .ruff_cache dist
