# SPDX-License-Identifier: BSD-2-Clause
# Fuzz targets: tests/fuzz/fuzz_NAME.c, see tests/fuzz/README.md. Included by the top Makefile behind
# tests/unit/unit.mk, whose macros it uses. Each is built twice:
#
#	$(BUILD)/fuzz/NAME      clang, libFuzzer, address and undefined-behaviour sanitizers
#	$(BUILD)/fuzz/cov/NAME  the compiler's line counts; gives a corpus to the target again
#
#	make fuzz               all, FUZZ_SECONDS each (10), two at a time; FUZZ=NAME: only that one
#	make fuzz FUZZ_MIN=85   fails for a target that reaches less per cent of its subject's lines

FUZZ_SECONDS ?= 10
FUZZ_MIN     ?= 0
FUZZ_JOBS    ?= 2
FUZZ_CC      ?= clang
fuzz_dir     := $(BUILD)/fuzz
fuzz_names   := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))

fuzz_flags := $(filter-out -fsanitize=% -fno-sanitize-recover=all,$(UNIT_CFLAGS)) -Itests/fuzz \
	-Wno-unused-function
FUZZ_CFLAGS = $(fuzz_flags) -fsanitize=address,undefined -fno-sanitize-recover=all
FUZZ_COV_CFLAGS = $(fuzz_flags) --coverage

# What target $(1) names behind the word $(2).
fuzz_comment = sed -n '/^\/\* $(2):/{:a;/\*\//!{N;ba};s/.*$(2)://;s/\*\/.*//;s/\n \*//g;p;q}' \
	tests/fuzz/fuzz_$(1).c
fuzz_subject = $(wildcard $(shell $(call fuzz_comment,$(1),subject)))
fuzz_sources = tests/fuzz/fuzz_$(1).c tests/fuzz/fuzz.c tests/unit/host.c $(call fuzz_subject,$(1)) \
	$(wildcard $(shell $(call fuzz_comment,$(1),sources)))
fuzz_objects = $(patsubst %.c,$(fuzz_dir)/obj/%.o,$(call fuzz_sources,$(1)))
fuzz_cov_objects = $(patsubst %.c,$(fuzz_dir)/cov/obj/$(1)/%.o,$(call fuzz_sources,$(1)) tests/fuzz/replay.c)

$(fuzz_dir)/%kernel/lib/string.o: fuzz_flags += -fno-builtin $(foreach f,$(unit_renamed),-D$(f)=kernel_$(f))

define fuzz_rule
$(fuzz_dir)/$(1): $(call fuzz_objects,$(1))
	@echo "  LD      $$@"
	$(UNIT_Q)$(FUZZ_CC) $(FUZZ_CFLAGS) -fsanitize=fuzzer -o $$@ $$^ $(UNIT_LIBS)
$(fuzz_dir)/cov/$(1): $(call fuzz_cov_objects,$(1))
	@echo "  LD      $$@"
	$(UNIT_Q)$(HOSTCC) $(FUZZ_COV_CFLAGS) -o $$@ $$^ $(UNIT_LIBS)
$(fuzz_dir)/cov/obj/$(1)/%.o: %.c | $(UNIT_GENERATED)
	@mkdir -p $$(@D)
	@echo "  HOSTCC  $$<"
	$(UNIT_Q)$(HOSTCC) $(FUZZ_COV_CFLAGS) -MMD -MP -c -o $$@ $$<
endef
$(foreach n,$(fuzz_names),$(eval $(call fuzz_rule,$(n))))

$(fuzz_dir)/obj/%.o: %.c | $(UNIT_GENERATED)
	@mkdir -p $(@D)
	@echo "  FUZZCC  $<"
	$(UNIT_Q)$(FUZZ_CC) $(FUZZ_CFLAGS) -fsanitize=fuzzer-no-link -MMD -MP -c -o $@ $<

.PHONY: fuzz fuzz-build fuzz-list
fuzz-build: $(fuzz_names:%=$(fuzz_dir)/%)

fuzz-list:
	@$(foreach n,$(fuzz_names),echo $(n): $(call fuzz_subject,$(n));)

fuzz: $(foreach n,$(or $(FUZZ),$(fuzz_names)),$(fuzz_dir)/$(n) $(fuzz_dir)/cov/$(n))
	$(UNIT_Q)$(PYTHON) tests/fuzz/run --build $(fuzz_dir) --seconds $(FUZZ_SECONDS) --min $(FUZZ_MIN) \
		--jobs $(FUZZ_JOBS) $(foreach n,$(or $(FUZZ),$(fuzz_names)), \
		'$(n):$(call fuzz_subject,$(n))')

-include $(shell find $(fuzz_dir) -name '*.d' 2>/dev/null)
