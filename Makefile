# This Source Code Form is subject to the terms of the Mozilla Public
# License, v. 2.0. If a copy of the MPL was not distributed with this
# file, You can obtain one at https://mozilla.org/MPL/2.0/.

# Every target sets up what it needs by itself; see tests/setup.sh.

SHELL := /bin/bash
.SHELLFLAGS := -o errexit -o pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:

CARGO_HOME ?= $(HOME)/.cargo
export PATH := $(CARGO_HOME)/bin:$(PATH)

# sudo forgets the environment but for what is named.
KEPT := SOURCE_DATE_EPOCH,BRANCH,CARGO_TARGET_DIR,SSL_CERT_FILE,PIP_INDEX_URL
KEPT := $(KEPT),GOPROXY,GOSUMDB,http_proxy,https_proxy,no_proxy
SUDO := $(if $(filter-out 0,$(shell id -u)),sudo --preserve-env=$(KEPT))
SECONDS :=
SHELL_FILES = $(shell find .ci boot tests -type f \
	\( -name '*.sh' -o -path '.ci/*' -o -path boot/lx/mdata-execute \))
HEADED_FILES = $(shell find agent boot image smf tests -name target -prune -o \
	-type f \( -name '*.rs' -o -name '*.sh' -o -name '*.xml' \
	-o -name '*.service' \) -print)
FUZZ = cargo +nightly fuzz
TARGET = $(or $(CARGO_TARGET_DIR),target)
IMAGE = $(TARGET)/release/zone-image
ARTIFACTS :=

.PHONY: help
help:	## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-20s %s\n", \
		"make " $$1, $$2 }' Makefile

.PHONY: demo
demo:	## run a small datacenter here, until Ctrl-C or for SECONDS=n
	@tests/setup.sh demo
	cargo build --release --locked --workspace --bins
	@$(SUDO) target/release/localdc demo $(SECONDS:%=--seconds %)

# What a second build would begin with is half of what a first one writes, and a
# minute: where nobody builds again and again, none is kept.
BUILT := $(wildcard $(TARGET)/debug/incremental)

.PHONY: test
test: export CARGO_INCREMENTAL := $(if $(BUILT),1,0)
test: check check-illumos	## all that CI runs: checks, then every test
	cargo build --locked --workspace --bins --tests
	$(SUDO) $(TARGET)/debug/localdc lx-debians
	cargo nextest run --locked --workspace --profile ci
	cargo test --locked --workspace --doc

.PHONY: test-zfs
test-zfs:	## receive our streams in a virtual machine with the ZFS module
	@tests/setup.sh test-zfs
	cargo nextest run --locked -p localdc --run-ignored only --no-capture \
		-E 'test(/image::machine/)'

.PHONY: check
check: setup	## rustfmt, clippy, rustdoc, cargo-deny, shellcheck, xmllint
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps
	cargo deny --locked check bans licenses sources
	shellcheck $(SHELL_FILES)
	xmllint --noout --nonet --path tests/fixtures --dtdvalid \
		tests/fixtures/service_bundle.dtd.1 smf/smartos/*.xml
	@bare=$$(grep -L 'Mozilla Public' $(HEADED_FILES) || true); \
		[[ -z $$bare ]] || { echo "no MPL header: $$bare"; exit 1; }

.PHONY: check-illumos
check-illumos: setup	## type-check the programs for x86_64-unknown-illumos
	tests/tools/illumos-check.sh

.PHONY: bench
bench:	## measure; prints a table and one line a figure
	@tests/setup.sh demo
	cargo build --release --locked -p monitoring-agent --bins
	cargo bench --locked -p localdc --bench walk --bench render

.PHONY: bench-dns
bench-dns:	## measure the name server beside Knot, NSD, BIND, unbound
	@tests/setup.sh bench
	cargo build --release --locked -p monitoring-agent --bins
	cargo bench --locked -p localdc --bench dns

.PHONY: bench-auth
bench-auth:	## measure the sign-in proxy beside a double of today's
	@tests/setup.sh bench-auth
	cargo build --release --locked -p monitoring-agent --bins
	cargo bench --locked -p localdc --bench auth

.PHONY: bench-shard
bench-shard:	## measure the shard planner beside hashing: evenness, moves
	@tests/setup.sh demo
	cargo bench --locked -p localdc --bench shard

.PHONY: bench-image
bench-image:	## measure the writers of images beside tar and pigz
	@tests/setup.sh bench-image
	cargo bench --locked -p localdc --bench image

.PHONY: fuzz
fuzz:	## each fuzz target for ten minutes, or SECONDS=n
	@tests/setup.sh fuzz
	cd agent && for name in $$($(FUZZ) list); do \
		mkdir -p fuzz/corpus/$$name; \
		$(FUZZ) run $$name fuzz/corpus/$$name fuzz/seeds/$$name -- \
			-max_total_time=$(or $(SECONDS),600) \
			-timeout=10 -rss_limit_mb=2048 -malloc_limit_mb=256; \
	done

.PHONY: image
image:	## build a zone image: ROLE=prometheus|thanos|grafana BRAND=lx|joyent-minimal
	@[[ -n "$(ROLE)" && -n "$(BRAND)" ]] || \
		{ echo "usage: make image ROLE=prometheus BRAND=lx" >&2; exit 64; }
	@tests/setup.sh image
	cargo build --release --locked -p zone-image
	if [[ $(BRAND) == lx ]]; then $(MAKE) programs; fi
	$(SUDO) $(IMAGE) fetch $(ROLE) --brand $(BRAND) $(ARTIFACTS)
	$(SUDO) $(IMAGE) build $(ROLE) --brand $(BRAND) $(ARTIFACTS)

# A panic names its place in the sources: without the folders of whoever built
# it, another's build of this commit is the same bytes.
.PHONY: programs
programs:	## build config-agent and monadm as images want them, for HOST=triple
	cargo fetch --locked
	flags=$$(printf -- '--remap-path-prefix=%s=/registry ' \
		"$(CARGO_HOME)"/registry/src/*); \
	RUSTFLAGS="$$flags$$RUSTFLAGS" cargo build --release --locked \
		-p monitoring-agent --bins $(HOST:%=--target %)
	touch $(TARGET)/$(HOST:%=%/)release/{config-agent,monadm}

.PHONY: soak
soak:	## the DNS secondary among CNS's traps for ten minutes, or SECONDS=n
	@tests/setup.sh test
	DNS_SECONDS=$(or $(SECONDS),600) cargo nextest run --locked -p localdc \
		--profile soak --no-capture -E 'test(all_traps_together)'

.PHONY: audit
audit: setup	## look our dependencies up in RustSec (needs the network)
	cargo deny --locked check advisories

.PHONY: fix
fix:	## let rustfmt and clippy mend what they can
	cargo clippy --locked --workspace --all-targets --fix --allow-dirty \
		--allow-staged
	cargo fmt --all

.PHONY: setup
setup:	## install what tests and checks need
	@tests/setup.sh test

.PHONY: clean
clean:	## remove target/
	cargo clean
