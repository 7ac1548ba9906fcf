# SPDX-License-Identifier: GPL-2.0
#
# Builds a crate on top of ipvs/. The including Kbuild must set
#   lblc-rs-top    the folder that contains ipvs/ and bindings/
#   lblc-rs-root   the root of the crate
#   lblc-rs-crate  the object file of the crate; a module cannot contain an object of its own name

# Features of the IPVS core are detected by names in its header, never by a version.
ip-vs-header := $(srctree)/include/net/ip_vs.h
ip-vs-has = $(shell grep -qw $(1) $(ip-vs-header) && echo y)
lblc-rs-cfg-$(call ip-vs-has,totalconns) += --cfg ip_vs_dest_totalconns

rustflags-y += $(lblc-rs-cfg-y)

# An arithmetic overflow must not stop a router. The tests on the host and in debug kernels run with
# checks.
ifneq ($(CONFIG_PROVE_LOCKING),y)
rustflags-y += -Coverflow-checks=n
endif

# bindgen uses clang: take the list of gcc flags that clang does not know from the kernel's own Makefile.
lblc-rs-skip := $(obj)/bindings/.skip_c_flags.mk
$(shell mkdir -p $(dir $(lblc-rs-skip)); sed -n '/^bindgen_skip_c_flags *:=/,/[^\\]$$/p; /^BINDGEN_TARGET/p' \
	$(srctree)/rust/Makefile > $(lblc-rs-skip))
include $(lblc-rs-skip)

quiet_cmd_lblc_rs_bindgen = BINDGEN $(quiet_modtag) $@
      cmd_lblc_rs_bindgen = $(BINDGEN) $< \
	$(shell grep -Ev '^\#|^$$' $(srctree)/rust/bindgen_parameters $(lblc-rs-top)/bindings/bindgen_parameters -h) \
	--rust-target 1.85 --use-core --ctypes-prefix ffi --no-layout-tests --no-debug '.*' \
	--enable-function-attribute-detection -o $@ -- \
	$(filter-out $(bindgen_skip_c_flags) $(CC_FLAGS_LTO),$(c_flags)) \
	-w --target=$(BINDGEN_TARGET) -fno-builtin -D__BINDGEN__ -DMODULE

$(obj)/bindings/bindings_generated.rs: $(lblc-rs-top)/bindings/bindings_helper.h \
		$(lblc-rs-top)/bindings/helpers.h $(lblc-rs-top)/bindings/bindgen_parameters \
		$(wildcard $(lblc-rs-top)/bindings/netlink/*.h) FORCE
	$(call if_changed_dep,lblc_rs_bindgen)

$(obj)/$(lblc-rs-crate): private export LBLC_RS_BINDINGS := $(abspath $(obj)/bindings)
$(obj)/$(lblc-rs-crate): $(lblc-rs-root) $(obj)/bindings/bindings_generated.rs FORCE
	+$(call if_changed_rule,rustc_o_rs)

targets += bindings/bindings_generated.rs $(lblc-rs-crate)
clean-files += bindings/bindings_generated.rs bindings/.skip_c_flags.mk
