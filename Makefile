# Everything here needs Go 1.26; what starts the local stack also needs a JDK 17 and Maven, and the race detector a C compiler.
# A line after "##" is a target's entry in `make help`.

GO ?= go

# A build never changes go.mod behind one's back. The compiler is not guided by the profile in cmd/projector, as it is
# outside make: that takes a minute more, with every package compiled once again, and says nothing about correctness.
export GOFLAGS := -mod=readonly -pgo=off

# Tools have a module of their own, so that their dependencies are not Penstock's.
TOOL := $(GO) tool -modfile=tools/go.mod

# What `make prove` can prove, and its defaults.
PROOFS := crash sim pressure gameday
RUNS ?= $(if $(filter sim,$(P)),5000,$(if $(filter gameday,$(P)),1,20))
SEED ?=
S ?=

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## start a stack, feed it 5,000 orders, kill a daemon half-way, compare every row; about a minute; RESHARD=1 splits and merges shards, too; READER=fanout subscribes to them
	$(GO) run ./localstack/demo $(if $(RESHARD),--reshard) $(if $(READER),--reader $(READER))

.PHONY: dev
dev: ## start a stack and a daemon, keep them running, and say what to type next
	$(GO) run ./localstack/demo --dev

# gofmt and go fix report by what they print, not by their exit code alone.
.PHONY: check
check: ## gofmt, vet, staticcheck, go fix, the import fences and the build that lacks a schema version; starts nothing
	@unformatted=$$(gofmt -l .) && test -z "$$unformatted" || { echo "gofmt -w is needed for:" "$$unformatted" >&2; exit 1; }
	$(GO) vet ./...
	$(TOOL) staticcheck ./...
	@fixes=$$($(GO) fix -diff ./... 2>&1) && test -z "$$fixes" || { echo "$$fixes"; echo "go fix ./... is needed" >&2; exit 1; }
	$(GO) test -count=1 -run '^TestFence' .
	$(GO) vet -tags without_placed_v2 ./order ./cmd/projector
	$(GO) test -count=1 -tags without_placed_v2 -run '^TestABuildWithout' ./order

# The packages share one Cassandra and, on a small machine, two processors: tests with deadlines of their own run one package
# after another. Within a package two run side by side where they mostly wait: for clocks, for leases that end, for servers that
# were broken. Building first keeps the compiler out of their way, and finds what does not compile before a stack starts.
.PHONY: test
test: check ## check, then all tests with the race detector on one local stack; about 20 minutes
	$(GO) build -race ./...
	$(GO) test -count=1 -run '^(TestNoScheduleBreaksAnInvariant|TestPlantedFaultsAreFound)$$' ./localstack/sim # ten times as fast as under the race detector
	localstack/with-stack.sh $(TOOL) gotestsum --format pkgname --format-hide-empty-pkg --post-run-command tools/tally.sh \
		-- -race -count=1 -timeout 25m -p 1 -parallel 2 ./...

.PHONY: bench
bench: ## compare with others in one run: make bench B=pipeline, about 10 minutes, B=fleet, about 3, B=view, about one, or B=deadletters, about 3
ifeq ($(B),pipeline)
	$(GO) run ./localstack/bench
else ifeq ($(B),fleet)
	$(GO) run ./localstack/bench/fleet
else ifeq ($(B),view)
	$(GO) test -count=1 -run '^$$' -bench '^BenchmarkViews$$' -benchtime 1x ./localstack/bench/view
else ifeq ($(B),deadletters)
	$(GO) run ./localstack/bench/deadletters
else
	@echo "usage: make bench B=BENCH, where BENCH is one of: pipeline, fleet, view, deadletters" >&2; exit 2
endif

.PHONY: pgo
pgo: ## profile the pipeline under load for the compiler, as cmd/projector/default.pgo; about 3 minutes
	$(GO) run ./localstack/bench -pairs 1 -warmup 20s -pgo $(CURDIR)/cmd/projector/default.pgo

.PHONY: prove
prove: ## repeat a proof: P=crash on one stack, P=sim in virtual time, or P=pressure of the control law, which writes docs/pressure [RUNS=20, of sim 5000] [SEED=n]; P=gameday breaks three real nodes [S=2,4] [RUNS=1], needs root
ifeq ($(filter $(PROOFS),$(P)),)
	@echo "usage: make prove P=PROOF [RUNS=n] [SEED=n], where PROOF is one of: $(PROOFS); gameday takes S=SCENARIOS, too" >&2; exit 2
else ifeq ($(P),gameday)
	$(GO) run ./localstack/gameday -runs $(RUNS) -scenarios "$(S)"
else ifeq ($(P),sim)
	PROVE=$(P) RUNS=$(RUNS) SEED=$(SEED) $(GO) test -count=1 -timeout 0 -v -run '^TestProve$$' ./localstack/sim
else ifeq ($(P),pressure)
	PROVE=$(P) RUNS=$(RUNS) SEED=$(SEED) $(GO) test -count=1 -timeout 0 -v -run '^TestProve$$' ./sink/adaptive/pressure
else
	PROVE=$(P) RUNS=$(RUNS) SEED=$(SEED) localstack/with-stack.sh \
		$(GO) test -count=1 -timeout 0 -v -run '^TestProve$$' ./localstack/e2e
endif
