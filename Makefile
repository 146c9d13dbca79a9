# `make help` lists what there is. Everything is quick when there is nothing to do.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

LISTEN ?= 127.0.0.1:8000
DATA_DIR ?= data
CARGO_TARGET_DIR ?= target
# Beside the build, where the tests look for them.
VENV := $(CARGO_TARGET_DIR)/test-venv
NOTEBOOK_VENV := $(CARGO_TARGET_DIR)/notebook-venv
REFERENCE_VENV := $(CARGO_TARGET_DIR)/reference-venv

WEB_SOURCES := $(shell find web -type f -not -path 'web/node_modules/*' -not -path 'web/dist/*' 2>/dev/null)

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: build ## build everything and serve on http://127.0.0.1:8000 (LISTEN, DATA_DIR)
	$(CARGO_TARGET_DIR)/release/fanfare serve --listen $(LISTEN) --data-dir $(DATA_DIR)

.PHONY: build
build: web ## the release binary with the web page in it
	cargo build --release --locked

.PHONY: web
web: web/dist/index.html ## the web page, which the binary embeds

web/dist/index.html: web/node_modules/.stamp $(WEB_SOURCES)
	cd web && npm run build
	@touch $@

# node_modules follows the lock file; the stamp is newer than the lock when they agree.
%/node_modules/.stamp: %/package-lock.json
	cd $* && npm ci --no-audit --no-fund
	@touch $@

$(VENV)/.stamp: tests/clients/requirements.txt
	python3 -m venv --clear $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(NOTEBOOK_VENV)/.stamp: tests/clients/notebook.txt
	python3 -m venv --clear $(NOTEBOOK_VENV)
	$(NOTEBOOK_VENV)/bin/pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r $<
	@touch $@

$(REFERENCE_VENV)/.stamp: loadtest/reference/requirements.txt
	python3 -m venv --clear $(REFERENCE_VENV)
	$(REFERENCE_VENV)/bin/pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r $<
	@touch $@

.PHONY: test-setup
test-setup: ## install what the tests need: servers, a browser, Python and Node clients
	scripts/setup-tests
	@$(MAKE) --no-print-directory $(VENV)/.stamp $(NOTEBOOK_VENV)/.stamp tests/clients/node_modules/.stamp loadtest/node_modules/.stamp web/node_modules/.stamp

.PHONY: test
test: test-setup lint ## every check and every test (installs what is missing)
	cd web && npm test
	cargo test --locked --lib --test it --no-run
	loadtest/smoke-ci $(CARGO_TARGET_DIR)/debug/fanfare
	scripts/check-instructions
	scripts/check-nginx
	scripts/check-manifests
	ulimit -Sn "$$(ulimit -Hn)" || true; cargo test --locked --lib --test it

.PHONY: fuzz
fuzz: ## every fuzz target for SECONDS each (60; needs a C++ compiler)
	scripts/fuzz $(or $(SECONDS),60)

.PHONY: lint
lint: web loadtest/node_modules/.stamp ## formatting, clippy, types of the web page and the load tests
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cd web && npm run check
	cd loadtest && npm run check

.PHONY: audit
audit: ## licenses, sources and known advisories of every crate and npm package (needs `cargo install cargo-deny cargo-audit`)
	cargo deny --locked check
	if command -v cargo-audit >/dev/null; then cargo audit; fi
	cd web && npm audit --audit-level=moderate

.PHONY: sbom
sbom: ## what the program and the page are made of, as CycloneDX, in target/sbom
	scripts/sbom $(CARGO_TARGET_DIR)/sbom

.PHONY: bench
bench: build $(VENV)/.stamp ## the smoke load test against the release binary, with figures
	loadtest/smoke-ci $(CARGO_TARGET_DIR)/release/fanfare

.PHONY: throughput
throughput: build $(REFERENCE_VENV)/.stamp ## learning events a second, beside the design that this replaces (BURST, RATE, SECONDS_EACH)
	loadtest/progress-throughput

.PHONY: matching-bench
matching-bench: $(REFERENCE_VENV)/.stamp ## the best 40 jobs of 10,000 users among 100,000, beside the same in NumPy and pandas
	cargo bench --locked --bench matching
	$(REFERENCE_VENV)/bin/python loadtest/reference/matching.py

.PHONY: proofs
proofs: build test-setup ## the long proofs, of the release binary: kills among 100,000 events, a whole morning, a thousand seams, ten minutes replayed
	FANFARE_PROGRAM=$(abspath $(CARGO_TARGET_DIR))/release/fanfare \
		FANFARE_KILL_EVENTS=100000 FANFARE_MORNING_JOBS=100000 FANFARE_SEAM_TRIALS=1000 \
		FANFARE_REPLAY_SECONDS=600 \
		cargo test --locked --test it -- progress_kills matching_morning progress_replay --nocapture --test-threads 1

.PHONY: rest
rest: build test-setup $(REFERENCE_VENV)/.stamp ## the REST API at a pace and at full speed, beside the design that this replaces (RATE, SECONDS_EACH)
	cargo build --release --locked -p fanout
	loadtest/rest

.PHONY: rolling-update
rolling-update: build test-setup ## rolling and blue-green updates of the release build under load (STREAMS=2000, RATE=200)
	ulimit -Sn "$$(ulimit -Hn)" || true; FANFARE_PROGRAM=$(abspath $(CARGO_TARGET_DIR)/release/fanfare) \
		FANFARE_SWITCH_STREAMS=$(or $(STREAMS),2000) FANFARE_SWITCH_RATE=$(or $(RATE),200) \
		cargo test --locked --test it -- deploy_switch --nocapture

.PHONY: trace
trace: build ## the trace of one message, drawn to docs/trace.svg
	scripts/trace-picture $(CARGO_TARGET_DIR)/release/fanfare docs/trace.svg

.PHONY: start-time
start-time: build ## what the program weighs, and how long it takes until it is ready
	scripts/start-time $(CARGO_TARGET_DIR)/release/fanfare

.PHONY: microbench
microbench: ## what the stream's parts cost, by criterion
	cargo bench --locked --bench stream

.PHONY: model
model: test-setup ## random runs of the whole against a model (SEEDS=1000; SEEDS=:17 plays one again)
	FANFARE_MODEL_SEEDS=$(or $(SEEDS),1000) cargo test --locked --test it -- stream_model --nocapture

.PHONY: chaos
chaos: test-setup ## kill, cut off, freeze and fill what a node depends on, again and again (ROUNDS=20)
	for round in $$(seq $(or $(ROUNDS),20)); do cargo test --locked --test it -- chaos_ stream_silence stream_topologies; done

.PHONY: soak
soak: build $(VENV)/.stamp ## hours of load on one server: memory, descriptors and latency must not grow (MINUTES=60)
	scripts/soak $(or $(MINUTES),60)

.PHONY: screenshots
screenshots: web ## the pictures in docs/screenshots, of a server filled with invented data (MINUTES=3)
	cargo build --locked
	node web/e2e/screenshots.mjs $(CARGO_TARGET_DIR)/debug/fanfare docs/screenshots --minutes=$(or $(MINUTES),3)

.PHONY: frames
frames: web ## what 1,000 updates a second cost the pages, by the browser's trace (SECONDS=60; 600: memory; PAGES="prices")
	for page in $(or $(PAGES),"inventory --sort=sku" "inventory --sort=updated" prices overview); do \
		node web/e2e/frames.mjs --seconds=$(or $(SECONDS),60) --page=$$page || exit 1; done

.PHONY: classroom
classroom: build ## what a class of 300 students costs the page, on a real server
	node web/e2e/classroom.mjs $(CARGO_TARGET_DIR)/release/fanfare

.PHONY: lock
lock: ## renew the Python requirements with their hashes from the .in files
	python3 -m venv target/lock-venv
	target/lock-venv/bin/pip install --quiet pip-tools
	for file in tests/clients/requirements tests/clients/notebook loadtest/reference/requirements; do \
		target/lock-venv/bin/pip-compile --quiet --strip-extras --generate-hashes \
			--no-emit-index-url --no-emit-find-links --no-header --output-file $$file.txt $$file.in; done

.PHONY: clean
clean: ## remove what was built; DATA_DIR stays
	rm -rf target web/dist {web,loadtest,tests/clients}/node_modules
