# Tenet's build. `make build` makes the one file, bin/tenet, with every program that it carries. Nothing is rebuilt that is current.
#
#   make up           everything: install what is missing, build, start, run README's example and show it working (root)
#   make test         every test, real containers included (as root; as a plain user those are skipped)
#   make ci           what CI runs: test, vet, formatting, lint, generated files
#   make build        bin/tenet (installs a C compiler and libseccomp first, on Debian and as root, when they are missing)
#   make carried      only the carried programs: runc, its shim, the CNI plugin, kubectl
#   make image-nginx  .cache/images/nginx.tar: docker.io/library/nginx:stable made of Debian's nginx package, for machines that reach no registry
#   make bench        the API server beside etcd + kube-apiserver; make bench-pods: pod starts and memory. Both write docs/results/
#   make conformance  Kubernetes' own conformance tests; writes docs/results/conformance.md
#   make linear       concurrent requests and watches against a server that is killed again and again; writes docs/results/linear.md
#   make generate     files made from others: OpenAPI
#   make install      /usr/local/bin/tenet and a systemd unit
#   make clean        bin and .cache

SHELL    := /bin/bash
GO       ?= go
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT   := $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
DATE     := $(shell git log -1 --format=%cI 2>/dev/null || echo unknown)
KUBE     := v1.37.2
MODULE   := github.com/tenet-run/tenet
CTRDVER  := $(shell sed -n 's|^\tgithub.com/containerd/containerd/v2 ||p' go.mod)
LDFLAGS  := -s -w -X github.com/containerd/containerd/v2/version.Version=$(CTRDVER) -X $(MODULE)/internal/version.Version=$(VERSION) -X $(MODULE)/internal/version.Commit=$(COMMIT) -X $(MODULE)/internal/version.Date=$(DATE)

CARRIED  := .cache/carried
BLOBS    := internal/carry/blobs
PROGRAMS := runc containerd-shim-runc-v2 kubectl tenet-bridge
ZST      := $(PROGRAMS:%=$(BLOBS)/%.zst)
MODFILES := go.mod go.sum

.PHONY: build carried image-nginx tools clean up test ci vet lint generated generate bench bench-pods conformance conformance-fast linear install FORCE
.DELETE_ON_ERROR:

build: carried
	@CGO_ENABLED=0 $(GO) build -trimpath -tags carry -ldflags "$(LDFLAGS)" -o bin/tenet ./cmd/tenet
	@ls -lh bin/tenet | awk '{print "bin/tenet", $$5}'

carried: $(ZST)

# What the carried runc needs: a C compiler and libseccomp. Only asked for when runc has to be built.
tools:
	@hack/tools.sh

# zstd blobs, embedded by `-tags carry`.
$(BLOBS)/%.zst: $(CARRIED)/% hack/compress/main.go
	@mkdir -p $(BLOBS)
	@$(GO) run ./hack/compress $< $@

$(CARRIED)/runc: $(MODFILES) hack/tools.sh
	@hack/tools.sh
	@echo "building runc"
	@mkdir -p $(CARRIED)
	@CGO_ENABLED=1 $(GO) build -trimpath -tags "seccomp urfave_cli_no_docs netgo osusergo" \
	  -ldflags "-s -w -linkmode external -extldflags -static" -o $@ github.com/opencontainers/runc
	@touch $@

$(CARRIED)/containerd-shim-runc-v2: $(MODFILES) $(wildcard cmd/containerd-shim-runc-v2/*.go)
	@echo "building containerd-shim-runc-v2"
	@mkdir -p $(CARRIED)
	@CGO_ENABLED=0 $(GO) build -trimpath -tags no_grpc -ldflags "-s -w" -o $@ ./cmd/containerd-shim-runc-v2
	@touch $@

$(CARRIED)/kubectl: $(MODFILES) cmd/kubectl/main.go
	@echo "building kubectl"
	@mkdir -p $(CARRIED)
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$(KUBE)+tenet -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37" \
	  -o $@ ./cmd/kubectl
	@touch $@

$(CARRIED)/tenet-bridge: $(MODFILES) $(wildcard cmd/tenet-bridge/*.go network/podnet/*.go network/podnet/attach/*.go)
	@echo "building the CNI plugin tenet-bridge"
	@mkdir -p $(CARRIED)
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w" -o $@ ./cmd/tenet-bridge
	@touch $@

image-nginx: .cache/images/nginx.tar

.cache/images/nginx.tar: $(wildcard test/images/*.go)
	@mkdir -p .cache/images
	@$(GO) run ./test/images nginx -o $@

clean:
	rm -rf bin .cache $(BLOBS)

up: build
	@hack/up.sh

# Tests that start containers want bin/tenet and an image; without root they skip.
test: build image-nginx
	@command -v ip >/dev/null || { apt-get update -qq && apt-get install -y -qq iproute2; }
	@$(GO) test $(TESTFLAGS) ./...
	@for m in tenettest examples/operator; do (cd $$m && $(GO) test $(TESTFLAGS) ./...) || exit 1; done

vet:
	@$(GO) vet ./...
	@for m in test/bench tenettest examples/operator; do (cd $$m && $(GO) vet ./...) || exit 1; done

lint:
	@bad=$$(gofmt -l $$(git ls-files '*.go' | grep -v zz_generated)); if [ -n "$$bad" ]; then echo "not formatted, run gofmt -w:"; echo "$$bad"; exit 1; fi
	@$(GO) test ./internal/lint

generate:
	@$(GO) generate ./kinds/openapi

generated:
	@$(GO) test -run TestDataIsCurrent ./kinds/openapi -args -regenerate

ci: vet lint generated test conformance-fast

bench: build
	@test/bench/peers.sh
	@cd test/bench && $(GO) run . -tenet $(CURDIR)/bin/tenet -out $(CURDIR)/docs/results/bench.md

# Kubernetes' own conformance tests. FOCUS and LISTS (names of test/conformance/lists) choose; NODE=1 starts a node too. Without any: the lists that need none.
CONF      := .cache/conformance
LISTS     ?= $(if $(FOCUS),,api,node-object)
PROCS     ?= 4
CONFRESULT ?= $(CURDIR)/docs/results/conformance.md

$(CONF)/ginkgo: test/conformance/upstream/go.mod
	@mkdir -p $(CONF)
	@cd test/conformance/upstream && $(GO) build -trimpath -ldflags "-s -w" -o $(CURDIR)/$@ github.com/onsi/ginkgo/v2/ginkgo
	@touch $@

$(CONF)/e2e.test: test/conformance/upstream/go.mod
	@echo "building Kubernetes' end-to-end suite, some minutes"
	@mkdir -p $(CONF)
	@cd test/conformance/upstream && $(GO) test -c -trimpath -ldflags "-s -w" -o $(CURDIR)/$@ k8s.io/kubernetes/test/e2e
	@touch $@

conformance: build $(CONF)/ginkgo $(CONF)/e2e.test
	@$(GO) test ./test/conformance -count=1 -timeout 3h -v -args -lists "$(LISTS)" -focus "$(FOCUS)" -procs $(PROCS) $(if $(NODE),-node) -result $(CONFRESULT)

# A part of them for .ci/run, without a file.
conformance-fast: build $(CONF)/ginkgo $(CONF)/e2e.test
	@$(GO) test ./test/conformance -count=1 -timeout 20m -v -args -lists fast -procs 4 -again 2 -limit 15m

linear: build
	@$(GO) test ./test/linear -count=1 -timeout 3h -v -args -events 1000000 -result $(CURDIR)/docs/results/linear.md

install: build
	install -D -m 0755 bin/tenet $(DESTDIR)/usr/local/bin/tenet
	install -D -m 0644 dist/tenet.service $(DESTDIR)/etc/systemd/system/tenet.service
	@echo "systemctl enable --now tenet starts it"

bench-pods: build image-nginx
	@$(GO) test ./test/story -run TestPodStarts -count=1 -timeout 20m -v -args -podbench $(CURDIR)/docs/results/pods.md
