# l2tpctl. The targets, in the order in which a newcomer wants them; `make` alone lists them.
# demo, integration and test need root; they install what is missing with apt.

SHELL := /bin/bash
GO ?= go
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.7.0
FUZZTIME ?= 5s
FUZZTIME_IKE ?= 20s
# Race detector and fuzzing share few cores with nothing else.
export CGO_ENABLED ?= 1

.DEFAULT_GOAL := help
.PHONY: help build demo test lint unit fuzz integration smoke-qemu bench deps clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/l2tpctl, statically linked
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-X main.version=$$(git describe --always --dirty 2>/dev/null)" -o bin/l2tpctl ./cmd/l2tpctl

demo: deps build ## two foreign clients behind one NAT: connect, show, send traffic, disconnect
	CGO_ENABLED=0 $(GO) build -o build/demo ./demo
	L2TPCTL_BINARY=bin/l2tpctl build/demo

test: deps lint unit fuzz integration ## everything below except smoke-qemu and bench

lint: ## gofmt, tidy go.mod, go vet, staticcheck, also of the tests that need a kernel
	@unformatted="$$(git ls-files -co --exclude-standard '*.go' | xargs gofmt -l)"; \
	if [ -n "$$unformatted" ]; then echo "not gofmt'ed:"; echo "$$unformatted"; exit 1; fi
	$(GO) mod tidy -diff
	$(GO) vet ./...
	$(GO) vet -tags integration,kernel ./...
	$(GO) run $(STATICCHECK) -tags integration,kernel ./...
	for script in scripts/*.sh .ci/run integration/vm/*.sh integration/lab/*.sh; do bash -n "$$script" || exit 1; done

unit: ## unit tests with the race detector
	$(GO) test -race -timeout 20m ./...

fuzz: ## every fuzz target for FUZZTIME (5s), those of IKE messages for FUZZTIME_IKE (20s)
	scripts/fuzz.sh $(FUZZTIME) $(FUZZTIME_IKE)

integration: deps build ## tests on a real kernel: of single packages, then of the binary against foreign clients
	scripts/kernel-tests.sh
	CGO_ENABLED=0 L2TPCTL_BINARY=$(CURDIR)/bin/l2tpctl $(GO) test -count=1 -v -timeout 85m -tags integration ./integration
	CGO_ENABLED=0 $(GO) test -count=1 -v -tags integration ./integration/caller

smoke-qemu: build ## one client up, ping, down, on the distribution's kernel in qemu
	L2TPCTL_TEST_KERNEL=qemu scripts/deps.sh
	CGO_ENABLED=0 L2TPCTL_TEST_KERNEL=qemu L2TPCTL_BINARY=$(CURDIR)/bin/l2tpctl \
		$(GO) test -count=1 -v -timeout 20m -tags integration -run '^TestSmoke$$' ./integration

bench: deps build ## benchmarks, those of whole sessions on a real kernel, of handshakes beside strongSwan
	$(GO) test -run '^$$' -bench . -benchmem ./...
	CGO_ENABLED=0 L2TPCTL_BINARY=$(CURDIR)/bin/l2tpctl \
		$(GO) test -run '^$$' -bench 'Session|Memory|Responder|Throughput' -benchtime 10x -timeout 20m -tags integration ./integration
	CGO_ENABLED=0 $(GO) test -run '^$$' -bench . -benchtime 10x -timeout 20m -tags integration ./integration/caller
	scripts/kernel-bench.sh

deps: ## install the programs that tests and demo use, if they are missing
	@scripts/deps.sh

clean: ## remove what was built here
	rm -rf bin build
