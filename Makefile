# make demo   set up, build, make a bundle from samples/ and ask it questions
# make test   set up, check and test everything; .ci/run calls exactly this
# make build  build bin/pcapsule
# make recorder  build bin/pcapsule-recorder, the static program of a cluster's nodes
# make lint unit race fuzz  what make test is made of
# make fuzz   2 seconds on every fuzz target (FUZZTIME=30s for longer)
# make bench-ask  how long questions about 5 million calls take
# make bench-tls  what decryption costs, on one conversation in clear and as TLS
# make bench-record  recorders of packets side by side; needs root (BENCH_SHORT=1: 2 min, else 20)
# make kernels  the recorder on Debian's kernels from 5.10 to 7.2 in QEMU; 15 min (make kernels-short: two of them, 2 min)
# make e2e  the recorder on a real cluster of one node; needs root and a cluster's programs (scripts/e2e.sh)
# make conformance  the official MCP suites against the server's HTTP; needs npm
# make bench  make large captures and measure against other tools; takes long
# make release  archives of every system, Debian packages, SBOMs and checksums in dist/; needs root and debootstrap
# make release-check  make release, then start and inspect all of it (Wine, QEMU); takes long
# make release-short  compile for Windows and macOS what needs no C compiler, start the arm64 recorder under QEMU; 1 min
SHELL := /bin/bash
GO ?= go
FUZZTIME ?= 2s
RELEASE ?= $(shell git describe --tags --always 2>/dev/null || echo dev)

# One set of flags for everything: a package that is compiled with -trimpath and without it
# is compiled twice.
export GOFLAGS := $(filter-out -buildvcs=false -trimpath,$(GOFLAGS)) -buildvcs=false -trimpath
export CGO_ENABLED = 1

.PHONY: demo test build recorder setup lint race fuzz bench bench-ask bench-tls bench-record kernels kernels-short e2e conformance unit clean release release-check release-short

build:
	$(GO) build -ldflags '-s -w' -o bin/pcapsule ./cmd/pcapsule

recorder:
	CGO_ENABLED=0 $(GO) build -ldflags '-s -w' -o bin/pcapsule-recorder ./cmd/pcapsule-recorder

setup:
	@scripts/setup.sh

demo: setup build
	@scripts/demo.sh

test: setup lint unit race fuzz release-short kernels-short
	@tail -n 1 .cache/unit.txt

# A heap may grow to 5 times what lives in it before it is collected: the linters, and the
# compilers that they start, need a quarter less processor time and at most a few GB.
LINT_GOGC := 400

lint:
	@unformatted=$$(git ls-files '*.go' | xargs gofmt -l); if [ -n "$$unformatted" ]; then echo "not formatted (gofmt):"; echo "$$unformatted"; exit 1; fi
	GOGC=$(LINT_GOGC) $(GO) vet ./...
	@mkdir -p .cache
	cd .ci/tools && $(GO) build -o ../../.cache/staticcheck honnef.co/go/tools/cmd/staticcheck
	GOGC=$(LINT_GOGC) .cache/staticcheck ./...

# What may skip. Without root more may: set-up installs nothing and the kernel refuses.
skips := .ci/allowed-skips.txt $(if $(filter-out 0,$(shell id -u)),.ci/skips-without-root.txt)

# "make lint" vets, so go test need not do it again.
unit: build .cache/testgate
	set -o pipefail; $(GO) test -vet=off -timeout 20m -json ./... | tee .cache/unit.json | .cache/testgate $(skips) | tee .cache/unit.txt

# Packages that start goroutines, and runs through all stages of the exporter. Left out:
# recorder/agent and internal/cli, because building a Kubernetes client and all commands with
# the detector costs more than the tests; and tests that repeat in long loops what other tests
# of the same goroutines do, or that measure time.
RACE := ./exporter/dissect ./exporter/internal/... ./mcp ./recorder ./recorder/keys ./recorder/ring
norace := StrippedPrograms|CostIsLinear|CostStaysLinear|AnswersKeepToTheirBudget|PromptsWorkWhenFollowedWordByWord|ToolsTakeNoWrongArgument|RecoveryAtEveryLength|Owners$$|PlaintextOf

race: .cache/testgate
	set -o pipefail; $(GO) test -vet=off -race -timeout 20m -json -skip '^Test($(norace))' $(RACE) | \
		tee .cache/race.json | .cache/testgate $(skips) | tee .cache/race.txt
	$(GO) test -vet=off -race -timeout 20m -run '^(TestFloodsGiveTheSameBytes|TestTranslatedConnectionIsOne|TestTranslatedDatagramsAreOneCall|TestNetworks.*|TestEventsBesideASegment)$$' ./exporter

.PHONY: .cache/testgate
.cache/testgate:
	@mkdir -p .cache
	$(GO) build -o $@ ./internal/testgate

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

kernels:
	command -v qemu-system-aarch64 >/dev/null || apt-get install -qq --no-install-recommends qemu-system-x86 qemu-system-arm cpio
	$(GO) run ./scripts/kernels -o docs/design/016-kernels.md

# Where there is no QEMU, set-up could not install it and said so.
kernels-short:
	@if command -v qemu-system-x86_64 cpio apt-get >/dev/null; then $(GO) run ./scripts/kernels -short; else echo "kernels: not tested, which needs qemu-system-x86_64, cpio and apt-get"; fi

e2e: build
	@scripts/e2e.sh

conformance:
	@scripts/conformance.sh

release:
	$(GO) run ./scripts/release build

release-check: release
	$(GO) run ./scripts/release check -again

release-short:
	@if command -v qemu-aarch64-static >/dev/null; then $(GO) run ./scripts/release short; else echo "other systems: not tested, which needs qemu-aarch64-static"; fi

clean:
	rm -rf bin .cache
