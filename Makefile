# Clickledger. `make help` lists the targets; CI runs them and nothing else.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# The tools are built once into bin/tools, by version; Go checks their sums.
GOLANGCI_LINT_VERSION := v2.15.0
GOTESTSUM_VERSION := v1.13.0

TOOLS := bin/tools
GOLANGCI_LINT := $(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION)
GOTESTSUM := $(TOOLS)/gotestsum-$(GOTESTSUM_VERSION)

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -X main.version=$(VERSION)
BIN := bin/clickledger

# PKG narrows test, race and bench; ARGS goes to the command behind a target.
PKG ?= ./...
ARGS ?=
TEST_TIMEOUT ?= 18m

# Packages whose goroutines share memory; the pure cores have none.
RACE_PKG ?= ./internal/... ./jobs/...

# Packages with tests that need real services; elsewhere those tests skip and say so. A test of
# internal/archtest compares the list with the tests.
SERVICES_PKG ?= ./cmd/clickledger ./internal/clickhouseio ./internal/dedupredis ./internal/devflink ./internal/flinkrunner \
  ./internal/objectstore ./internal/parity ./jobs/api ./jobs/archive ./jobs/batch

# A package's tests with services are ended after SERVICES_TIMEOUT. With SERVICES_MINUTES no such test begins later than so
# many minutes after the first: those that are left skip and say so.
SERVICES_TIMEOUT ?= 30m
SERVICES_MINUTES ?=

# A test with services that failed runs again so often, by itself; the summary shows both runs.
SERVICES_RERUNS ?= 0

export CGO_ENABLED := 1

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / {printf "  %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  PKG=./internal/... narrows test and race, ARGS='--date 2026-11-01' goes to the command."

.PHONY: check-tools
check-tools:
	@command -v go >/dev/null || { echo "make: Go 1.26 or newer is needed: install it and put it on the PATH" >&2; exit 2; }
	@cc=$$(go env CC); command -v $${cc%% *} >/dev/null || { echo "make: a C compiler is needed (DuckDB is linked by cgo): install gcc or clang" >&2; exit 2; }
	@cxx=$$(go env CXX); command -v $${cxx%% *} >/dev/null || { echo "make: a C++ compiler is needed (DuckDB is linked by cgo): install g++ or clang++" >&2; exit 2; }
	@[ -e $(TOOLS)/.built ] || echo "make: the first build compiles Beam and DuckDB's driver, which takes some minutes" >&2

.PHONY: build
build: check-tools ## build bin/clickledger
	go build -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/clickledger
	@mkdir -p $(TOOLS) && touch $(TOOLS)/.built

.PHONY: test
test: check-tools $(GOTESTSUM) ## run all tests; nothing but Go and a C compiler is needed
	$(GOTESTSUM) --format pkgname --format-hide-empty-pkg \
	  --post-run-command 'bash scripts/test-summary.sh' \
	  -- -p 2 -timeout $(TEST_TIMEOUT) $(PKG)

.PHONY: race
race: check-tools ## run the race detector on the packages that share memory
	go test -race -p 1 -timeout $(TEST_TIMEOUT) $(RACE_PKG)

.PHONY: lint
lint: check-tools vet fmt-check $(GOLANGCI_LINT) ## run go vet, the gofmt check and golangci-lint
	$(GOLANGCI_LINT) run $(PKG)

.PHONY: vet
vet: check-tools ## run go vet
	go vet $(PKG)

.PHONY: fmt-check
fmt-check: ## list the files that gofmt would change, and fail if there are any
	@files=$$(git ls-files --cached --others --exclude-standard '*.go' | grep -v '\.pb\.go$$' | xargs -r gofmt -l); \
	if [ -n "$$files" ]; then echo "not formatted by gofmt:" >&2; echo "$$files" >&2; exit 1; fi

.PHONY: generate
generate: ## write the generated code again
	go generate ./...

.PHONY: generate-check
generate-check: ## fail if go generate would change anything that is committed
	go generate ./...
	@git diff --exit-code --stat -- '*.pb.go' || { echo "make: generated code is out of date: run make generate and commit" >&2; exit 1; }

.PHONY: tidy-check
tidy-check: ## fail if go mod tidy would change go.mod or go.sum
	@go mod tidy -diff >/dev/null || { echo "make: go.mod is not tidy: run go mod tidy and commit" >&2; exit 1; }

.PHONY: sql-check
sql-check: check-tools ## run every SQL file on a real PostgreSQL and DuckDB
	go test -count=1 -p 1 -timeout $(TEST_TIMEOUT) ./sql/... ./internal/ledgerpg/... ./internal/servingduck/... ./internal/auditduck/...

.PHONY: test-services
test-services: check-tools $(GOTESTSUM) ## run the tests that need real services, which they fetch and start
	CLICKLEDGER_TEST_SERVICES=1 CLICKLEDGER_TEST_SERVICES_UNTIL=$(if $(SERVICES_MINUTES),$$(($$(date +%s) + 60 * $(SERVICES_MINUTES)))) \
	  $(GOTESTSUM) --format testname --rerun-fails=$(SERVICES_RERUNS) --rerun-fails-max-failures=3 --packages '$(SERVICES_PKG)' \
	  --post-run-command 'bash scripts/test-summary.sh' -- -count=1 -p 1 -timeout $(SERVICES_TIMEOUT)

.PHONY: dev-up
dev-up: build ## start Kafka, ClickHouse, S3, Redis and PostgreSQL on this machine, without Docker
	$(BIN) dev up $(ARGS)

.PHONY: dev-status
dev-status: build ## ask the services of dev-up whether they answer
	$(BIN) dev status $(ARGS)

.PHONY: dev-down
dev-down: build ## stop the services of dev-up; their data stays
	$(BIN) dev down $(ARGS)

.PHONY: bench
bench: check-tools ## measure CPU per click of stream, batch, bare loop and plain SQL; writes bench.json
	go build -o bin/bench ./cmd/bench
	bin/bench $(ARGS)

.PHONY: bench-api
bench-api: check-tools ## measure the analytics API: 10 clients on 10 million rows
	go test ./jobs/api -run '^$$' -bench API -benchtime 1x -timeout 30m

.PHONY: bench-services
bench-services: build ## measure freshness on real Kafka and ClickHouse: make bench-services ARGS='--runner flink'
	go build -o bin/bench ./cmd/bench
	bin/bench services $(ARGS)

.PHONY: bench-gateway
bench-gateway: check-tools ## measure the gateway, every click synced, against nginx's bare 302; writes bench-gateway.json
	go build -o bin/bench-gateway ./cmd/bench/gateway
	bin/bench-gateway $(ARGS)

.PHONY: demo
demo: build ## the whole loop on embedded parts: clicks in, a reconciled ledger out
	$(BIN) demo $(ARGS)

.PHONY: screenshot
screenshot: check-tools ## run the demo for five minutes, and write docs/dashboard.png
	CLICKLEDGER_TEST_SCREENSHOT=$(CURDIR)/docs/dashboard.png go test ./cmd/clickledger -count=1 -run '^TestPageOfDemo$$' -v -timeout 20m

.PHONY: run-stream
run-stream: build ## run the speed layer: make run-stream ARGS='--config clickledger.yaml'
	$(BIN) stream $(ARGS)

.PHONY: run-batch
run-batch: build ## run the batch layer: make run-batch ARGS='--date 2026-11-01'
	$(BIN) batch $(ARGS)

.PHONY: reconcile
reconcile: build ## reconcile a day: make reconcile ARGS='--date 2026-11-01 --post'
	$(BIN) reconcile $(ARGS)

.PHONY: clean
clean: ## remove what the targets have built
	rm -rf bin

$(GOLANGCI_LINT): | check-tools
	@echo "make: building golangci-lint $(GOLANGCI_LINT_VERSION), once" >&2
	GOBIN=$(CURDIR)/$(TOOLS)/tmp GOFLAGS= go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	mv $(TOOLS)/tmp/golangci-lint $@

$(GOTESTSUM): | check-tools
	GOBIN=$(CURDIR)/$(TOOLS)/tmp GOFLAGS= go install gotest.tools/gotestsum@$(GOTESTSUM_VERSION)
	mv $(TOOLS)/tmp/gotestsum $@
