# SPDX-License-Identifier: GPL-2.0
#
# What people type. `make help` lists it.

KDIR ?= /lib/modules/$(shell uname -r)/build
RELEASE = $(or $(KERNEL),$(shell uname -r))
MO ?= $(CURDIR)/build/host

LBLCTOP = build/lblctop/lblctop

.PHONY: $(shell sed -n 's/^\([a-z.-]*\):.* \#\# .*/\1/p' Makefile)
# `make KDIR=...` builds, as it does for every module; `make` alone explains.
.DEFAULT_GOAL := $(if $(filter command,$(origin KDIR)),modules,help)

help: ## what can be made
	@sed -n 's/^\([a-z.-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 26
	@echo
	@echo '  KERNEL=stock|next|rt|um|kasan|debug|RELEASE  which kernels (make test, make shell)'
	@echo '  CASE=name                     which cases (make test)'
	@echo '  FULL=1                        more kernels, longer storms and traces (make test)'
	@echo '  CELLS=regex QUICK=1           which cells (make bench, make bench-icount)'
	@echo '  ROWS=regex                    which kernels (make matrix)'

modules: ## the module for the kernel tree KDIR (default: the running kernel's)
	@scripts/check-kdir "$(KDIR)"
	@mkdir -p "$(MO)"
	$(MAKE) --no-print-directory -C "$(KDIR)" M="$(CURDIR)" MO="$(abspath $(MO))" CONFIG_IP_VS_LBLC_RS=m modules

module: ## the module for Debian's kernel KERNEL, whose tree is fetched and prepared (default: this one)
	@scripts/kernel module "$(RELEASE)"

lblctop: ## the program that shows what the module does, lblctop(8)
	@install -D $$(scripts/make-lblctop) $(LBLCTOP)

install: ## what `make module` and `make lblctop` built, and the manual pages
	install -D -m 644 "build/$(RELEASE)/ip_vs_lblc_rs.ko" "/lib/modules/$(RELEASE)/updates/ip_vs_lblc_rs.ko"
	depmod "$(RELEASE)"
	install -D -m 644 -t /usr/local/share/man/man4 man/ip_vs_lblc_rs.4
	[ ! -e $(LBLCTOP) ] || install -D -t /usr/local/sbin $(LBLCTOP)
	[ ! -e $(LBLCTOP) ] || install -D -m 644 -t /usr/local/share/man/man8 man/lblctop.8

deb: ## Debian packages, in build/deb (KERNEL: those with the module ready to load, default stock)
	@scripts/deb

man: ## show the manual page, ip_vs_lblc_rs(4)
	@scripts/man

demo: ## watch it balance real HTTP requests on Debian's stock kernel
	@scripts/demo

test: ## the gate: host tests, must-fail tests, every case in um, kasan, stock and next, costs (FULL=1: more)
	@scripts/test

test-red: ## does what must not pass fail?
	@KERNEL=red scripts/test

mutants: ## whether the host tests miss a line that is changed (cargo-mutants)
	@scripts/mutants

storm: ## the long form of the storms, which change everything under traffic, in um and stock (KERNEL, CASE, SEED)
	@scripts/storm

test-install: ## the packages on whole Debian machines: install, boot, upgrade the kernel, remove
	@scripts/test-install

test-signed: ## a signed module on a machine with Secure Boot
	@scripts/test-signed

bench: ## what a choice costs in ns, C's and ours, in um (table and pictures in build/bench)
	@scripts/bench time

bench-icount: ## the same in instructions, in Debian's kernel
	@scripts/bench icount

check: ## rustfmt, clippy, shellcheck and the host tests
	@scripts/check

shell: ## a shell in a guest with the module
	@scripts/vm shell $(if $(KERNEL),--kernel $(KERNEL))

rust-project.json: ## for editors: rust-analyzer knows the kernel crate and ours
	@scripts/rust-project

patch: ## patches that put it into a kernel tree, in build/patch
	@scripts/make-patch

matrix: ## every kernel there is, and the table in docs/matrix.md (ROWS=regex chooses; an hour)
	@scripts/matrix

cache: ## show what is cached, and where
	@scripts/cache show

clean: ## remove what was built here
	rm -rf build

distclean: clean ## remove the cache as well
	@scripts/cache remove
