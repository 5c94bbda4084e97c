# Everything runs from .venv, made from hash-pinned requirements; nothing is installed outside the project.
PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: install demo test serve hapi bench check audit lock help

help: ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

install: .venv/.installed ## set up .venv

.venv/.installed: requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: install ## the whole main job on sample referrals; ONCE=1 ends by itself
	$(BIN)/sluss demo $(if $(ONCE),--once)

test: install ## all tests; those with a HAPI FHIR server and with foreign clients need Java 17, Maven and Node 20, that of the proxy nginx
	$(BIN)/python -m pytest -n $${SLUSS_TEST_PROCESSES:-2} -m "not hapi and not clients and not faults"
	$(BIN)/python -m pytest -m clients
	$(BIN)/python -m pytest -m "hapi and not faults"
	$(BIN)/python -m pytest -m faults

serve: install ## the service with its worker on http://127.0.0.1:8080
	$(BIN)/sluss serve --with-worker

hapi: install ## a real HAPI FHIR server on loopback until Ctrl-C, to set SLUSS_FHIR_SERVER_URL to; needs Java 17 and Maven
	$(BIN)/python -m tests.hapi

bench: install ## figures, each beside a bound measured in the same run, in an hour and 60 GB; what HAPI has part in needs Java 17 and Maven
	@missed=0; for part in tests.bench tests.bench.searches tests.bench.hapi; do $(BIN)/python -m $$part || missed=1; done; exit $$missed

check: install ## lint, types, imports, packs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/sluss pack check gavleborg
	$(BIN)/sluss pack check praktikertjanst

audit: install ## known vulnerabilities of the dependencies, as far as the package index tells
	.ci/audit

lock: install ## renew requirements.txt from pyproject.toml
	$(BIN)/python -m piptools compile --quiet --generate-hashes --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --allow-unsafe --strip-extras --extra dev --output-file requirements.txt pyproject.toml
	@# pip-compile drops the condition of an extra's requirement: atheris is for Linux only
	sed -i.old "s/^atheris==\([0-9.]*\) /atheris==\1 ; platform_system == 'Linux' and platform_machine == 'x86_64' /" requirements.txt && rm requirements.txt.old
