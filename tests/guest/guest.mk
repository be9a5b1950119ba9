# SPDX-License-Identifier: BSD-2-Clause
# The guests: freestanding programs for a VM, $(GUEST_OUT)/NAME.elf for each tests/guest/NAME.c (and
# NAME.S beside it, if there is one). The top Makefile includes this; alone it works as well:
#	make -f tests/guest/guest.mk guests GUEST_OUT=/tmp/guests
# Most are 64-bit code in an ELF32 with a multiboot 1 header, which `qemu -kernel` and Neap both
# load. Those that differ: hello_raw64 (ELF64, no header), hello_low (linked at 32 KiB), hello32.

GUEST_DIR     := tests/guest
GUEST_OUT     ?= build/guests
GUEST_CC      ?= $(CC)
GUEST_LD      ?= $(LD)
GUEST_OBJCOPY ?= objcopy

GUEST_OBJ   := $(GUEST_OUT)/obj
GUEST_NAMES := $(filter-out hello32,$(notdir $(basename $(wildcard $(GUEST_DIR)/*.c))))
GUEST_ALL   := $(GUEST_NAMES) hello_raw64 hello_low hello32
GUEST_ELFS  := $(GUEST_ALL:%=$(GUEST_OUT)/%.elf)

GUEST_CFLAGS := -std=gnu11 -ffreestanding -O2 -g -Wall -Wextra -Werror -Wshadow -Wundef -Wvla \
	-Wmissing-prototypes -Wstrict-prototypes -mgeneral-regs-only -fno-pic -fno-pie \
	-ffunction-sections -fdata-sections -fno-stack-protector \
	-fno-asynchronous-unwind-tables -fcf-protection=none -I$(GUEST_DIR)/lib -MMD -MP
GUEST_CFLAGS64 := $(GUEST_CFLAGS) -m64 -mno-red-zone -mcmodel=small
GUEST_CFLAGS32 := $(GUEST_CFLAGS) -m32
GUEST_LDFLAGS  := -static -nostdlib --build-id=none --gc-sections -z max-page-size=4096 \
	-z noexecstack

GUEST_LIB64 := $(filter-out bare32.c,$(notdir $(wildcard $(GUEST_DIR)/lib/*.c))) \
	start64.S vectors.S ap_start.S
GUEST_LIB64 := $(GUEST_LIB64:%=$(GUEST_OBJ)/lib/%.o)
GUEST_LIB32 := $(patsubst %,$(GUEST_OBJ)/32/lib/%.o,start_bare32.S console.c boot.c bare32.c)

GUEST_QUIET := $(if $(filter 1,$(V)),,@)
guest_say    = $(if $(filter 1,$(V)),,@printf '  %-7s %s\n' GUEST $(1))

.PHONY: guests guests-list guests-clean
guests: $(GUEST_ELFS)

guests-list:
	@printf '%s\n' $(sort $(GUEST_ALL))

guests-clean:
	rm -rf $(GUEST_OUT)

$(GUEST_OBJ)/%.c.o: $(GUEST_DIR)/%.c $(GUEST_DIR)/guest.mk
	@mkdir -p $(@D)
	$(GUEST_QUIET)$(GUEST_CC) $(GUEST_CFLAGS64) -c $< -o $@

$(GUEST_OBJ)/%.S.o: $(GUEST_DIR)/%.S $(GUEST_DIR)/guest.mk
	@mkdir -p $(@D)
	$(GUEST_QUIET)$(GUEST_CC) $(GUEST_CFLAGS64) -c $< -o $@

$(GUEST_OBJ)/32/%.c.o: $(GUEST_DIR)/%.c $(GUEST_DIR)/guest.mk
	@mkdir -p $(@D)
	$(GUEST_QUIET)$(GUEST_CC) $(GUEST_CFLAGS32) -c $< -o $@

$(GUEST_OBJ)/32/%.S.o: $(GUEST_DIR)/%.S $(GUEST_DIR)/guest.mk
	@mkdir -p $(@D)
	$(GUEST_QUIET)$(GUEST_CC) $(GUEST_CFLAGS32) -c $< -o $@

# The linker script for an image at address %.
$(GUEST_OBJ)/guest-%.ld: $(GUEST_DIR)/lib/guest.ld
	@mkdir -p $(@D)
	$(GUEST_QUIET)$(GUEST_CC) -E -P -x c -DGUEST_BASE=$* $< -o $@

# guest_link - $(1): name, $(2): its own objects, $(3): the entry's object, $(4): address.
define guest_link
$(GUEST_OBJ)/$(1).elf64: $(2) $(GUEST_OBJ)/lib/$(3).o $(GUEST_LIB64) $(GUEST_OBJ)/guest-$(4).ld
	$$(GUEST_QUIET)$$(GUEST_LD) -m elf_x86_64 $$(GUEST_LDFLAGS) -T $$(lastword $$^) \
		$$(filter %.o,$$^) -o $$@
endef

guest_sources = $(wildcard $(1:%=$(GUEST_DIR)/%.[cS]))
guest_objects = $(patsubst $(GUEST_DIR)/%,$(GUEST_OBJ)/%.o,$(call guest_sources,$(1)))

$(foreach g,$(GUEST_NAMES), \
	$(eval $(call guest_link,$(g),$(call guest_objects,$(g)),start32.S,0x100000)))
$(eval $(call guest_link,hello_low,$(call guest_objects,hello),start32.S,0x8000))
$(eval $(call guest_link,hello_raw64,$(call guest_objects,hello),start_raw64.S,0x100000))

$(GUEST_OUT)/hello_raw64.elf: $(GUEST_OBJ)/hello_raw64.elf64
	$(call guest_say,$@)
	$(GUEST_QUIET)cp $< $@

$(GUEST_OUT)/hello32.elf: $(GUEST_OBJ)/32/hello32.c.o $(GUEST_LIB32) $(GUEST_OBJ)/guest-0x100000.ld
	$(call guest_say,$@)
	$(GUEST_QUIET)$(GUEST_LD) -m elf_i386 $(GUEST_LDFLAGS) -T $(lastword $^) \
		$(filter %.o,$^) -o $@

# A loader that takes 32-bit ELF only does not mind 64-bit code in it.
$(GUEST_OUT)/%.elf: $(GUEST_OBJ)/%.elf64
	$(call guest_say,$@)
	$(GUEST_QUIET)$(GUEST_OBJCOPY) -O elf32-i386 $< $@

.SECONDARY: $(GUEST_ALL:%=$(GUEST_OBJ)/%.elf64)
-include $(shell find $(GUEST_OBJ) -name '*.d' 2>/dev/null)
