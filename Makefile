# make demo   set up, build, make a bundle from samples/ and ask it questions
# make test   set up, check and test everything; .ci/run calls exactly this
# make build  build bin/pcapsule
# make recorder  build bin/pcapsule-recorder, the static program of a cluster's nodes
# make fuzz   a second on every fuzz target (FUZZTIME=30s for longer)
# make bench-ask  how long questions about 5 million calls take
# make bench-tls  what decryption costs, on one conversation in clear and as TLS
# make bench-record  recorders of packets side by side; needs root (BENCH_SHORT=1: 2 min, else 20)
# make e2e  the recorder on a real cluster of one node; needs root and a cluster's programs (scripts/e2e.sh)
# make conformance  the official MCP suites against the server's HTTP; needs npm
# make bench  make large captures and measure against other tools; takes long
SHELL := /bin/bash
GO ?= go
FUZZTIME ?= 1s
RELEASE ?= $(shell git describe --tags --always 2>/dev/null || echo dev)

export GOFLAGS ?= -buildvcs=false
export CGO_ENABLED = 1

.PHONY: demo test build recorder setup lint fuzz bench bench-ask bench-tls bench-record e2e conformance unit clean

build:
	$(GO) build -trimpath -ldflags '-s -w' -o bin/pcapsule ./cmd/pcapsule

recorder:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o bin/pcapsule-recorder ./cmd/pcapsule-recorder

setup:
	@scripts/setup.sh

demo: setup build
	@scripts/demo.sh

test: setup lint unit fuzz
	@tail -n 1 .cache/unit.txt

lint:
	@unformatted=$$(git ls-files '*.go' | xargs gofmt -l); if [ -n "$$unformatted" ]; then echo "not formatted (gofmt):"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	@mkdir -p .cache
	cd .ci/tools && $(GO) build -o ../../.cache/staticcheck honnef.co/go/tools/cmd/staticcheck
	.cache/staticcheck ./...

# What may skip. Without root more may: set-up installs nothing and the kernel refuses.
skips := .ci/allowed-skips.txt $(if $(filter-out 0,$(shell id -u)),.ci/skips-without-root.txt)

unit: build
	@mkdir -p .cache
	$(GO) build -o .cache/testgate ./internal/testgate
	set -o pipefail; $(GO) test -timeout 20m -json ./... | .cache/testgate $(skips) | tee .cache/unit.txt

fuzz:
	@scripts/fuzz.sh $(FUZZTIME)

bench: setup build
	@scripts/bench.sh

bench-ask: setup build
	@scripts/bench/ask.sh

bench-tls: setup build
	@scripts/bench-tls.sh

bench-record: setup build
	@scripts/bench-record.sh

e2e: build
	@scripts/e2e.sh

conformance:
	@scripts/conformance.sh

clean:
	rm -rf bin .cache
