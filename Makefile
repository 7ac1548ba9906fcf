# SPDX-License-Identifier: GPL-2.0
#
# The commands for users and developers; `make help` lists them.

KDIR ?= /lib/modules/$(shell uname -r)/build
RELEASE = $(or $(KERNEL),$(shell uname -r))
MO ?= $(CURDIR)/build/host

TOOLS = build/bin

.PHONY: $(shell sed -n 's/^\([a-z.-]*\):.* \#\# .*/\1/p' Makefile)
# `make KDIR=...` builds, as for every external module; `make` alone prints the help.
.DEFAULT_GOAL := $(if $(filter command,$(origin KDIR)),modules,help)

help: ## this list
	@sed -n 's/^\([a-z.-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 26
	@echo
	@echo '  KERNEL=stock|next|rt|um|kasan|debug|RELEASE  kernels (make test, make shell)'
	@echo '  CASE=regex                    cases (make test)'
	@echo '  FULL=1                        more kernels, longer stress tests and traces (make test)'
	@echo '  CELLS=regex QUICK=1           cells (make bench, make bench-icount)'
	@echo '  ROWS=regex                    kernels (make matrix)'

modules: ## the module for the kernel tree KDIR (default: the running kernel's)
	@scripts/check-kdir "$(KDIR)"
	@mkdir -p "$(MO)"
	$(MAKE) --no-print-directory -C "$(KDIR)" M="$(CURDIR)" MO="$(abspath $(MO))" CONFIG_IP_VS_LBLC_RS=m modules

module: ## the module for the Debian kernel KERNEL (default: the running one); fetches and prepares its tree
	@scripts/kernel module "$(RELEASE)"

tools: ## lblctop(8), the monitor, and lblcctl(8), which changes and saves tables
	@install -D -t $(TOOLS) $$(scripts/make-tools)/*

install: ## install the module, the tools if they were built, and the manual pages
	install -D -m 644 "build/$(RELEASE)/ip_vs_lblc_rs.ko" "/lib/modules/$(RELEASE)/updates/ip_vs_lblc_rs.ko"
	depmod "$(RELEASE)"
	install -D -m 644 -t /usr/local/share/man/man4 man/ip_vs_lblc_rs.4
	[ ! -e $(TOOLS) ] || install -D -t /usr/local/sbin $(TOOLS)/lblctop $(TOOLS)/lblcctl
	[ ! -e $(TOOLS) ] || install -D -m 644 -t /usr/local/share/man/man8 man/lblctop.8 man/lblcctl.8
	[ ! -e $(TOOLS) ] || install -D -m 644 $(TOOLS)/lblcctl.bash \
		/usr/local/share/bash-completion/completions/lblcctl

deb: ## Debian packages, in build/deb (KERNEL: the kernels for which the built module is packed, default stock)
	@scripts/deb

man: ## show the manual page, ip_vs_lblc_rs(4)
	@scripts/man

demo: ## a demonstration with real HTTP requests on Debian's stock kernel
	@scripts/demo

demo-fleet: ## hit ratios of real caches behind four directors, side by side, in User Mode Linux
	@scripts/demo fleet

test: ## the gate: host tests, must-fail tests, every case in um, kasan, stock and next, costs (FULL=1: more)
	@scripts/test

test-red: ## the must-fail tests: each broken case must be reported as a failure
	@KERNEL=red scripts/test

mutants: ## mutation tests of the host tests (cargo-mutants)
	@scripts/mutants

storm: ## the long stress tests: configuration changes under traffic, in um and stock (KERNEL, CASE, SEED)
	@scripts/storm

test-install: ## the packages on whole Debian machines: install, boot, upgrade the kernel, remove
	@scripts/test-install

test-signed: ## a signed module on a machine with Secure Boot
	@scripts/test-signed

bench: ## the time that schedule() takes, C's and ours, in User Mode Linux (table and graphs in build/bench)
	@scripts/bench time

bench-icount: ## the instructions that schedule() takes, in Debian's kernel
	@scripts/bench icount

bench-fleet: ## hit ratios of real caches behind one and four directors, in um (SEED)
	@scripts/bench fleet

check: ## formatting, lints, style, documents, patches and the host tests
	@scripts/check

shell: ## a shell in a guest with the module
	@scripts/vm shell $(if $(KERNEL),--kernel $(KERNEL))

netlink: ## generate the C files of bindings/netlink/ip_vs_lblc_rs.yaml, after it was changed
	@scripts/netlink

rust-project.json: ## describes this crate and the kernel crate for rust-analyzer
	@scripts/rust-project

patch: ## patches that add the module to a kernel tree, in build/patch
	@scripts/make-patch

matrix: ## build and test for every kernel, and update the table in docs/matrix.md (an hour; ROWS=regex)
	@scripts/matrix

cache: ## show the contents of the cache
	@scripts/cache show

clean: ## remove build/
	rm -rf build

distclean: clean ## remove the cache as well
	@scripts/cache remove
