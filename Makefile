# make demo   install a compiler, build, make a bundle from samples/ and ask questions about it
# make test   set up, lint, run all tests
# make extended  the rest of .ci/run: two other kernels, the race detector, short fuzzing, other systems, the public captures
# make nightly  the tests at full length, every kernel, long fuzzing, clusters, stores and other programs; hours
# make build  build bin/pcapsule
# make recorder  build bin/pcapsule-recorder, the static program for a cluster's nodes
# make viewer  build bin/pcapsule-viewer.html, which checks and reads bundles in a browser
# make viewer-check  compare it with the program in headless Chromium and Firefox, on all samples and tamperings; takes long
# make hub  build bin/pcapsule-hub, the static program that collects from them
# make lint unit lake-unit chart accept race  parts of make test and make extended
# make fuzz   2 seconds on every fuzz target (FUZZTIME=30s for longer); make fuzz-short: those that scripts/fuzz.sh lists
# make bench-ask  measure how long questions and reports about 5 million calls take
# make bench-cold  measure commands that start cold: time, processor time and memory (OLD=PROGRAM: compare with it, in turn; RUNS=N, default 7)
# make bench-floods measure captures that cost much more than their size (OLD=PROGRAM: compare with it, in turn)
# make bench-viewer CAPTURE=FILE  measure the viewer against the program on a bundle of a capture: opening, time, memory
# make bench-tls  measure the cost of decryption, on one conversation in clear text and as TLS
# make bench-live  measure the lag of live answers at 20,000 packets/s: 30 s
# make bench-record  compare packet recorders; needs root (BENCH_SHORT=1: 2 min, else 20)
# make kills  kill recorders 100 times and fill their disks, with traffic and accounts checked; needs root; 6 min
# make kernels  test the recorder on Debian's kernels from 5.10 to 7.2 in QEMU; 15 min (make kernels-short: two of them, 2 min)
# make chart  test deploy/chart with Helm's library
# make lake-short  the lake with versitygw and DuckDB only, under a minute; part of make e2e
# make e2e  test the recorder and the hub on real clusters of one and two nodes; needs root and a cluster's programs (scripts/e2e/lib.sh)
# make mutate PKG=./exporter/internal/...  change one operator at a time and see whether the package's own tests notice: a table, and what survived (N=200 changes, SEED=1)
# make stores  test stores against an S3 server, versitygw; builds it: 2 min
# make lake-program  build bin/pcapsule-lake, which registers bundles as Iceberg tables; it is a module of its own, lake/
# make lake  compare Spark, Trino and DuckDB over registered bundles and on KFL, with versitygw and PostgreSQL; 100 bundles (LAKE_BUNDLES=N); downloads 1 GB once
# make bench-lake  measure questions over 100 million calls in DuckDB and Spark; 40 GB of disk, 45 min (LAKE_CALLS=N)
# make casts  record the terminal sessions of docs/recordings and the page again
# make conformance  run the official MCP suites against the server's HTTP; needs npm
# make rest-check  compare serve with its OpenAPI description by schemathesis, and judge OpenAPI and HAR by redocly and har-validator; needs Python, PyPI and npm (EXAMPLES=20: 1 min, else 15)
# make formats  judge SARIF, JUnit XML, OTLP and OSCAL by programs of others; needs Python, PyPI and npm
# make bench  make large captures and compare with other tools; takes long
# make images  build container images of this machine's processor with its compilers, SBOMs and provenance in dist/; see docs/guide/cluster.md
# make push    copy images and the chart of make images or make release to REPOSITORY, such as registry.example/team
# make release  build archives for every system, Debian packages, images, chart, SBOMs and checksums in dist/; needs root and debootstrap
# make release-check  make release, then run and inspect everything (Wine, QEMU); takes long
# make release-short  check the types of everything for Windows and macOS that needs no C compiler, run the arm64 recorder under QEMU; 1 min
SHELL := /bin/bash
GO ?= go
FUZZTIME ?= 2s
RELEASE ?= $(shell git describe --tags --always 2>/dev/null || echo dev)

# Use one set of flags for everything, because a package that is compiled with and without
# -trimpath is compiled twice. Nobody runs a debugger on programs that make builds: without its information
# compilers need 20 % less processor time and linkers 45 %.
OURS := -buildvcs=false -trimpath -gcflags=all=-dwarf=false -ldflags=-w
export GOFLAGS := $(filter-out $(OURS),$(GOFLAGS)) $(OURS)
export CGO_ENABLED = 1

.PHONY: formats viewer viewer-check firefox bench-viewer accept extended mutate nightly generators chart images push stores lake lake-short lake-unit lake-program bench-lake casts demo test build recorder hub setup lint race compile fuzz fuzz-short bench bench-ask bench-cold bench-floods bench-tls bench-live bench-record kills kernels kernels-short e2e conformance rest-check sigma unit clean release release-check release-short

build:
	$(GO) build -ldflags '-s -w' -o bin/pcapsule ./cmd/pcapsule

# The page that checks and reads bundles in a browser: one file without a server. Its program is Go for WebAssembly.
viewer:
	@mkdir -p .cache
	GOOS=js GOARCH=wasm CGO_ENABLED=0 $(GO) build -ldflags '-s -w' -o .cache/viewer.wasm ./cmd/pcapsule-viewer
	$(GO) run ./web/build -viewer bin/pcapsule-viewer.html -program .cache/viewer.wasm

viewer-check bench-viewer: export PCAPSULE_VIEWER = $(CURDIR)/bin/pcapsule-viewer.html
viewer-check: build viewer firefox
	PCAPSULE_NIGHTLY=1 $(GO) test -timeout 120m ./cli/viewer
	PCAPSULE_NIGHTLY=1 $(GO) test -timeout 60m -run 'TestReader' ./mcp

# Only tests of the viewer at full length need it, so setup does not install it.
firefox:
	@command -v firefox-esr >/dev/null || command -v firefox >/dev/null || apt-get install -qq --no-install-recommends firefox-esr

bench-viewer: build viewer firefox
	PCAPSULE_SPEED=$(abspath $(CAPTURE)) $(GO) test -count=1 -v -timeout 60m -run TabSpeed ./cli/viewer

recorder:
	CGO_ENABLED=0 $(GO) build -ldflags '-s -w' -o bin/pcapsule-recorder ./cmd/pcapsule-recorder

hub:
	CGO_ENABLED=0 $(GO) build -ldflags '-s -w' -o bin/pcapsule-hub ./cmd/pcapsule-hub

setup:
	@scripts/setup.sh

# The demo needs nothing but what builds the program.
demo:
	@scripts/setup.sh build
	@$(MAKE) --no-print-directory build
	@scripts/demo.sh

# The parts of make test and of make extended. Two run at a time, because most have only one busy
# processor for much of their time. A part's output appears when it ends, with its time; a part that
# fails fails make, and no other begins. race, whose tests mostly wait, begins beside accept, which
# needs one processor for longest. Before, everything is compiled once: two parts that compile the same
# package at the same time would each do all the work.
TEST := unit lint chart lake-unit
EXTENDED := kernels-short accept race fuzz-short release-short generators
test: setup
	@$(MAKE) --no-print-directory timed-compile
	@echo "$(TEST): two at a time"
	@$(MAKE) --no-print-directory -j2 -Orecurse $(TEST:%=timed-%)
	@tail -qn 1 .cache/unit.txt .cache/lake.txt

extended: setup
	@echo "$(EXTENDED): two at a time"
	@$(MAKE) --no-print-directory -j2 -Orecurse $(EXTENDED:%=timed-%)

# What takes longer, as a whole: tests that have a short form (internal/nightly), every kernel, every target of fuzzing, and
# what needs other programs.
NIGHTLY := unit accept race kernels fuzz kills stores lake conformance rest-check formats sigma e2e release-check
nightly: export PCAPSULE_NIGHTLY = 1
nightly: FUZZTIME = 30s
nightly: setup firefox
	@failed=; for part in $(NIGHTLY); do $(MAKE) --no-print-directory FUZZTIME=$(FUZZTIME) timed-$$part || failed="$$failed $$part"; done; if [ -n "$$failed" ]; then echo "failed:$$failed"; exit 1; fi

timed-%:
	@TIMEFORMAT='$*: %R s; CPU: %U s user, %S s system'; time $(MAKE) --no-print-directory $*

stores:
	$(GO) build -C store/testdata/gateway -o $(CURDIR)/.cache/versitygw github.com/versity/versitygw/cmd/versitygw
	PCAPSULE_GATEWAY=$(CURDIR)/.cache/versitygw $(GO) test -count=1 ./store

N ?= 200
SEED ?= 1
mutate: export TMPDIR = $(shell scripts/tmpdir.sh)
mutate:
	cd .ci/tools/mutate && $(GO) build -o ../../../.cache/mutate . && $(GO) build -o ../../../.cache/gremlins github.com/go-gremlins/gremlins/cmd/gremlins
	.cache/mutate -n $(N) -seed $(SEED) .cache/gremlins $(PKG)

lake-program:
	$(GO) build -C lake -ldflags '-s -w' -o $(CURDIR)/bin/pcapsule-lake ./cmd/pcapsule-lake

lake: build lake-program
	@scripts/lake.sh

lake-short: build lake-program
	@scripts/lake.sh short

bench-lake: build lake-program
	@scripts/lake/bench.sh

casts: build
	$(GO) run ./scripts/cast
	$(GO) run ./scripts/cast/page

# The heap may grow to 5 times its live size before it is collected. So the linters need a quarter
# less processor time, compilers 8 % less, and both at most a few GB; tests need less, too. Tests of
# memory set their own limit.
FEW_GC := 400

compile:
	@GOGC=$(FEW_GC) $(GO) list -test -deps -export ./... >/dev/null
	@cd lake && GOGC=$(FEW_GC) $(GO) list -test -deps -export ./... >/dev/null

lint:
	@unformatted=$$(git ls-files '*.go' | xargs gofmt -l); if [ -n "$$unformatted" ]; then echo "not formatted (gofmt):"; echo "$$unformatted"; exit 1; fi
	@mkdir -p .cache
	@for module in $$(git ls-files go.mod '*/go.mod' | xargs -n1 dirname); do $(GO) list -C $$module -m all >/dev/null || { echo "$$module: run go mod tidy in it"; exit 1; }; done
	cd .ci/tools && $(GO) build -o ../../.cache/lint ./lint && $(GO) build -o ../../.cache/deadcode golang.org/x/tools/cmd/deadcode
	GOGC=$(FEW_GC) .cache/lint ./...
	cd lake && GOGC=$(FEW_GC) ../.cache/lint ./...
	GOGC=$(FEW_GC) .ci/deadcode.sh

# Tests that may skip. Without root there are more, because setup installs nothing and the
# kernel refuses some operations.
skips := .ci/allowed-skips.txt $(if $(filter-out 0,$(shell id -u)),.ci/skips-without-root.txt)

# Packages that start goroutines, and runs through all stages of the exporter. Not included:
# recorder/agent and cli, because building a Kubernetes client and all commands with
# the detector costs more than the tests: recorder/agent 160 s of processor time.
# Most tests of proof and join make whole bundles; race-exporter runs a few of them.
WHOLE := ./exporter/internal/proof ./exporter/internal/join
RACE := ./exporter/dissect ./exporter/internal/columnar ./exporter/internal/flow ./exporter/internal/live ./exporter/internal/memory ./exporter/internal/parts ./exporter/internal/read ./exporter/internal/recording ./exporter/internal/round ./exporter/internal/stream ./mcp ./mcp/door ./mcp/queue ./recorder ./recorder/keys ./recorder/ring
# Tests in these packages that only unit runs: they measure time, or repeat other tests of the same
# goroutines in long loops.
norace := StrippedPrograms|AnswersBegin|Page|CostIsLinear|AnswersFitTheirBudget|PromptsWork|SkillWorks|ToolsRefuseInvalid|RecoveryAtEveryLength|Owners$$|PlaintextOf|NothingShowsASecret|NoTableContainsASecret|NoAnswerConfirmsAGuess|AnswersMatchTheDescription|RESTListsHave|PolicyOf|HostilePartsAreErrors|DuckDBReadsBack|RunawayQueries|Forgotten|KilledRecorder|LossesOfARestart

# "make lint" has the analyzers of go vet, so go test need not run them again. accept asks
# every question in every way, also about the public captures.
# One package more than processors, because some tests wait. Packages that take longest come first,
# so that the last minutes do not have one busy processor only.
UNIT := $(GO) test -vet=off -timeout 40m -p $(shell expr $$(nproc) + 1) -json
unit lake-unit accept: export GOGC := $(FEW_GC)
unit lake-unit accept race: export TMPDIR = $(shell scripts/tmpdir.sh)
# $(call gated,NAME,COMMAND,PACKAGES) runs the tests of packages.
gated = set -o pipefail; .cache/testgate -json .cache/$(1).json -again "$(2)" $(skips) -- $(2) $(3) | tee .cache/$(1).txt
LONGEST := $(addprefix ./,recorder cli forensics/finding/all exporter mcp report cli/snapshots cli/everyquestion recorder/keys forensics mcp/questions exporter/dissect/all forensics/ask kfl exporter/internal/read docs forensics/internal/duck)
unit: build .cache/testgate
	$(call gated,unit,$(UNIT),$(LONGEST) $$($(GO) list ./... | grep -v '/internal/acceptance$$'))

lake-unit: .cache/testgate
	$(call gated,lake,$(subst $(GO) test,$(GO) test -C lake,$(UNIT)),./...)

# The programs that make samples/ are a module of their own, because they need many servers and clients.
generators:
	$(GO) build -C samples/gen ./...

accept: .cache/testgate
	$(call gated,accept,$(UNIT),./internal/acceptance)

RACED := $(GO) test -vet=off -race -timeout 20m
race: .cache/testgate
	$(call gated,race,$(RACED) -json,-skip '^Test($(norace))' $(RACE))
	$(call gated,race-exporter,$(RACED) -json,-run '^Test(FloodsGiveTheSameBytes|TranslatedConnectionIsOne|TranslatedDatagramsAreOneCall|Networks.*|EventsOfASegment|TheRecorderBeginsAgain|ALiveBundleIsBounded|QUIC.*|SocketViews|Settled|NamesAre.*|OverlappingBundlesAgree)$$' ./exporter $(WHOLE))

.PHONY: .cache/testgate
.cache/testgate:
	@mkdir -p .cache
	$(GO) build -o $@ ./internal/testgate

fuzz:
	@scripts/fuzz.sh $(FUZZTIME)

fuzz-short:
	@scripts/fuzz.sh $(FUZZTIME) short

bench: setup build
	@scripts/bench.sh

bench-ask: setup build
	@scripts/bench/ask.sh
	@scripts/bench/report.sh

bench-cold: setup build
	@RUNS=$(or $(RUNS),7) scripts/bench/cold.sh $(OLD) bin/pcapsule

bench-floods: setup build
	@scripts/bench/floods.sh $(OLD) bin/pcapsule

bench-tls: setup build
	@scripts/bench-tls.sh

bench-live:
	scripts/bench/live.sh

bench-record: setup build
	@scripts/bench-record.sh

kills: setup
	PCAPSULE_KILLS=100 $(GO) test ./recorder -count=1 -run TestKilledUnderTraffic -timeout 20m -v
	$(GO) test ./recorder/ring -count=1 -run 'TestKilled|TestFullDisk' -timeout 20m -long

kernels:
	command -v qemu-system-aarch64 >/dev/null || apt-get install -qq --no-install-recommends qemu-system-x86 qemu-system-arm cpio
	$(GO) run ./scripts/kernels -o docs/design/016-kernels.md

# If there is no QEMU, setup could not install it and said so.
kernels-short:
	@if command -v qemu-system-x86_64 cpio apt-get >/dev/null; then $(GO) run ./scripts/kernels -short; else echo "kernels: not tested, which needs qemu-system-x86_64, cpio and apt-get"; fi

chart:
	$(GO) test -C deploy/helm -count=1 ./...

e2e: build lake-short
	@scripts/e2e.sh

conformance:
	@scripts/conformance.sh

rest-check: build
	@scripts/rest-check.sh

formats: build
	@scripts/format-peers.sh

# The backend of pySigma, with sigma-cli from the package index.
sigma: build
	@scripts/sigma.sh

images:
	$(GO) run ./scripts/release images $(if $(REPOSITORY),-repository $(REPOSITORY))

push:
	$(GO) run ./scripts/release push -repository "$(REPOSITORY)"

release:
	$(GO) run ./scripts/release build

release-check: release
	$(GO) run ./scripts/release check -again

release-short:
	cd .ci/tools && $(GO) build -o ../../.cache/systems ./systems
	.cache/systems
	@if command -v qemu-aarch64-static >/dev/null; then $(GO) run ./scripts/release short; else echo "other systems: not tested, which needs qemu-aarch64-static"; fi

clean:
	rm -rf bin .cache
