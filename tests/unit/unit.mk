# SPDX-License-Identifier: BSD-2-Clause
# Unit tests on the host: real sources, cmocka, sanitizers. Included by the top Makefile, which sets
#
#	BUILD           where everything goes; $(BUILD)/gen/... is on the include path
#	UNIT_GENERATED  headers that must be made first (may be empty)
#
# Each tests/unit/test_NAME.c names the sources that it links in a comment at the start of a line,
#
#	/* sources: kernel/lib/kv.c kernel/lib/string.c */
#
# which may go on over further lines, and hold patterns. Tests share objects.
#
#	make unit          build and run all        make unit TEST=kv    only that one
#	make unit-build    build all                SEED=0x123           another course of chance
#	UNIT_SAN=thread    another sanitizer        UNIT_LOG=1           show printk and errors

HOSTCC   ?= cc
UNIT_SAN ?= address,undefined
comma    := ,
unit_dir := $(BUILD)/unit$(if $(filter-out address$(comma)undefined,$(UNIT_SAN)),-$(UNIT_SAN))
unit_obj := $(unit_dir)/obj

UNIT_CFLAGS := -std=gnu11 -g -O1 -fno-omit-frame-pointer -pthread \
	-fsanitize=$(UNIT_SAN) -fno-sanitize-recover=all \
	-Wall -Wextra -Werror -Wshadow -Wundef -Wvla \
	-Ikernel -I. -Itests/unit -I$(BUILD) -DNEAP_DEBUG=1 -DNEAP_HOST=1
UNIT_LIBS   := -lcmocka
UNIT_Q      := $(if $(filter 1,$(V)),,@)

unit_tests := $(patsubst tests/unit/%.c,%,$(wildcard tests/unit/test_$(or $(TEST),*).c))
unit_bins  := $(unit_tests:%=$(unit_dir)/%)

# The sources that test $(1) names, and all its objects.
unit_comment = sed -n '/^\/\* sources:/{:a;/\*\//!{N;ba};s/.*sources://;s/\*\/.*//;s/\n \*//g;p;q}'
unit_sources = $(wildcard $(shell $(unit_comment) tests/unit/$(1).c))
unit_objects = $(patsubst %.c,$(unit_obj)/%.o, \
	tests/unit/$(1).c tests/unit/host.c $(call unit_sources,$(1)))

# What ISO C names is the C library's on the host; ours gets other names, to be tested beside it.
unit_renamed := memcpy memmove memset memcmp strlen strnlen strcmp strncmp strchr
$(unit_obj)/kernel/lib/string.o: UNIT_CFLAGS += \
	-fno-builtin $(foreach f,$(unit_renamed),-D$(f)=kernel_$(f))

define unit_rule
$(unit_dir)/$(1): $(call unit_objects,$(1))
	@echo "  LD      $$@"
	$(UNIT_Q)$(HOSTCC) $(UNIT_CFLAGS) -o $$@ $$^ $(UNIT_LIBS)
endef
$(foreach t,$(unit_tests),$(eval $(call unit_rule,$(t))))

$(unit_obj)/%.o: %.c | $(UNIT_GENERATED)
	@mkdir -p $(@D)
	@echo "  HOSTCC  $<"
	$(UNIT_Q)$(HOSTCC) $(UNIT_CFLAGS) -MMD -MP -c -o $@ $<

.PHONY: unit unit-build
unit-build: $(unit_bins)

unit: unit-build
	@tests/unit/run $(unit_bins)

-include $(patsubst %.o,%.d,$(sort $(foreach t,$(unit_tests),$(call unit_objects,$(t)))))
