# SPDX-License-Identifier: BSD-2-Clause
# Neap's build. `make help` lists the targets.
#
#	build/neap.elf, neap.asm, neap.sym     release: optimised, CHECKs on
#	build/debug/...                        DEBUG=1: oracle, lock ranks, race points, junk fill
#	build/guests/*.elf                     the test guests
#	build/unit/...                         host tests

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

DEBUG    ?= 0
NOTIFIER ?= 1
V        ?= 0
OUT      := build$(if $(filter 1,$(DEBUG)),/debug)$(if $(filter 0,$(NOTIFIER)),/nonotifier)
BUILD    := build

# An x86_64 toolchain: the one that CROSS_COMPILE names, else the compiler of an x86-64 machine, else
# the first cross compiler on the path. `make CC=clang` takes clang, which needs no prefix.
ifndef CROSS_COMPILE
ifneq ($(shell uname -m),x86_64)
CROSS_COMPILE := $(patsubst %gcc,%,$(notdir $(firstword $(foreach p,x86_64-elf-gcc \
	x86_64-linux-gnu-gcc,$(shell command -v $(p) 2>/dev/null)))))
endif
endif
ifeq ($(origin CC),default)
CC := $(CROSS_COMPILE)gcc
endif
LD      := $(CROSS_COMPILE)ld
NM      := $(CROSS_COMPILE)nm
OBJCOPY := $(CROSS_COMPILE)objcopy
OBJDUMP := $(CROSS_COMPILE)objdump
PYTHON  ?= python3

Q := $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),,@printf '  %-7s %s\n' $(1) $(2))

CFLAGS := -std=gnu11 -ffreestanding -O2 -g -m64 -mno-red-zone -mgeneral-regs-only -mcmodel=kernel \
	-fno-pic -fno-pie -fno-stack-protector -fno-asynchronous-unwind-tables -fno-strict-aliasing \
	-fcf-protection=none -fno-common \
	$(if $(filter 1,$(DEBUG)),-fno-omit-frame-pointer,-fomit-frame-pointer) \
	-Wall -Wextra -Werror -Wshadow -Wundef -Wvla -Wmissing-prototypes -Wstrict-prototypes \
	-Ikernel -I. -I$(BUILD) -DNEAP_DEBUG=$(DEBUG) -DNOTIFIER=$(NOTIFIER)
ifneq ($(findstring clang,$(CC)),)
CFLAGS += --target=x86_64-elf
endif
LDFLAGS := -nostdlib -static -z max-page-size=4096 -z noexecstack --build-id=none \
	--no-warn-rwx-segments

FONT := $(BUILD)/gen/font_data.h
sources := $(sort $(shell find kernel drivers -name '*.c') $(wildcard boot/*.S) \
	$(shell find kernel -name '*.S')) $(if $(filter 1,$(DEBUG)),$(sort $(wildcard tests/kernel/*.c)))
# make REPLACE=mm/rmap.c:path - link another file in the place of one of kernel/'s.
replaced := kernel/$(firstword $(subst :, ,$(REPLACE)))
sources := $(if $(REPLACE),$(filter-out $(replaced),$(sources)) \
	$(word 2,$(subst :, ,$(REPLACE))),$(sources))
objects := $(patsubst %,$(OUT)/obj/%.o,$(sources))

.PHONY: all kernel guests run test check stress bench bench-trace bench-scale lint size debug help clean \
	audit-selftest deps-build deps-run deps-test deps-debug

all: kernel guests

kernel: $(OUT)/neap.elf $(OUT)/neap.asm $(OUT)/neap.sym

include tests/guest/guest.mk
UNIT_GENERATED := $(FONT)
include tests/unit/unit.mk
include tests/fuzz/fuzz.mk

$(OUT)/obj/%.c.o: %.c Makefile | $(FONT)
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

$(OUT)/obj/%.S.o: %.S Makefile
	@mkdir -p $(@D)
	$(call say,AS,$<)
	$(Q)$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

$(FONT): drivers/font.txt tools/mkfont.py
	@mkdir -p $(@D)
	$(Q)$(PYTHON) tools/mkfont.py $< -o $@

# Two links: the first gives the addresses of all functions, the second carries their names. The table
# stands last in its segment, so it moves nothing.
$(OUT)/neap.elf: $(objects) linker.ld tools/mksyms.py
	$(call say,LD,$@)
	$(Q)$(PYTHON) tools/mksyms.py < /dev/null > $(OUT)/symbols0.S
	$(Q)$(CC) $(CFLAGS) -c -o $(OUT)/symbols0.o $(OUT)/symbols0.S
	$(Q)$(LD) $(LDFLAGS) -T linker.ld -o $(OUT)/neap0.elf $(objects) $(OUT)/symbols0.o
	$(Q)$(NM) $(OUT)/neap0.elf | $(PYTHON) tools/mksyms.py > $(OUT)/symbols.S
	$(Q)$(CC) $(CFLAGS) -c -o $(OUT)/symbols.o $(OUT)/symbols.S
	$(Q)$(LD) $(LDFLAGS) -T linker.ld -o $@.tmp $(objects) $(OUT)/symbols.o
	$(Q)rm -f $(OUT)/neap0.elf $(OUT)/symbols0.[So]
	$(Q)mv $@.tmp $@

$(OUT)/neap.asm: $(OUT)/neap.elf
	$(call say,DISASM,$@)
	$(Q)$(OBJDUMP) -d --no-show-raw-insn $< > $@

$(OUT)/neap.sym: $(OUT)/neap.elf
	$(Q)$(NM) -n $< > $@

compile_commands.json: Makefile $(filter %.c,$(sources))
	$(Q)$(PYTHON) tools/compdb.py '$(CC) $(CFLAGS)' $(filter %.c,$(sources)) > $@

deps-build: DEPS_GROUPS = build
deps-run: DEPS_GROUPS = build run
deps-test: DEPS_GROUPS = build run test
deps-debug: DEPS_GROUPS = build run debug
deps-build deps-run deps-test deps-debug:
	$(Q)tools/deps $(DEPS_GROUPS)

run: deps-run
	$(Q)$(MAKE) --no-print-directory all
	$(Q)$(RUN_COMMAND)

# What `make run` shows, with the meter; then the monitor.
#	debian    three of Debian's own kernel, of 192 MiB each, which write and verify 90 % of their memory, on a
#	          machine of 256 MiB; the kernel comes from Debian's archive
#	pattern   four small guests of 64 MiB, which write and verify all of their memory, on one of 80 MiB
DEMO ?= debian
ifeq ($(DEMO),debian)
RUN_COMMAND ?= { tools/neap debian || { echo '`make run DEMO=pattern` needs no packages.' >&2; exit 1; }; } && \
	tools/neap run --ram 256M --swap 768M --kernel-args meter \
	$(foreach n,1 2 3,--guest build/debian/vmlinuz,vm=debian$(n),mem=192M \
	--initrd build/debian/initrd.gz --append 'console=ttyS0 quiet work.seed=$(n)')
else
RUN_COMMAND ?= tools/neap run --ram 80M --swap 512M --kernel-args meter \
	$(foreach seed,1 2 3 4,--guest build/guests/pattern.elf,mem=64M --append seed=$(seed))
endif

test: deps-test
	$(Q)$(PYTHON) tests/run $(if $(T),--only '$(T)') $(if $(ENGINE),--engine $(ENGINE)) \
		$(if $(SMP),--smp $(SMP)) $(if $(SEED),--seed $(SEED))

check: deps-test
	$(Q)$(PYTHON) tests/run --quick

stress: deps-test
	$(Q)$(PYTHON) tests/run --stress $(if $(T),--only '$(T)') $(if $(SEED),--seed $(SEED))

audit-selftest: deps-test
	$(Q)$(PYTHON) tests/run --only 'kernel/audit_selftest'

bench: deps-run
	$(Q)$(MAKE) --no-print-directory DEBUG=0 kernel guests
	$(Q)$(PYTHON) bench/run $(BENCH_ARGS)

bench-trace:
	$(Q)$(MAKE) --no-print-directory bench BENCH_ARGS=--trace

bench-scale: deps-run
	$(Q)$(MAKE) --no-print-directory DEBUG=0 kernel guests
	$(Q)$(PYTHON) bench/scale

lint: deps-build
	$(Q)$(PYTHON) tools/layers.py $(wildcard $(OUT))

size:
	$(Q)$(PYTHON) tools/size.py

debug: deps-debug
	$(Q)$(MAKE) --no-print-directory DEBUG=1 kernel guests
	$(Q)tools/debug $(RUN_ARGS)

clean:
	rm -rf build compile_commands.json

help:
	@echo 'make               the kernel (release) and the test guests'
	@echo 'make DEBUG=1       the kernel with oracle, lock ranks, race points, junk fill'
	@echo 'make run           three Debian guests of 192 MiB on a machine of 256 MiB, in QEMU; Ctrl-A x'
	@echo '                   ends it. DEMO=pattern: four guests of 64 MiB on one of 80 MiB'
	@echo 'make check         the two-minute form of the tests'
	@echo 'make test          all tests; T=name ENGINE=npt SMP=2 SEED=0x1 choose'
	@echo 'make stress        the long forms: Linux in many ways, stress-ng, memtester'
	@echo 'make unit          the host tests alone; TEST=name chooses one'
	@echo 'make audit-selftest  plant corruptions and see each reported by name'
	@echo 'make fuzz          the fuzz targets for FUZZ_SECONDS=10 each; FUZZ=name FUZZ_MIN=85'
	@echo 'make bench         measure in instructions, against the table of docs/design.md'
	@echo 'make bench-trace   the same, with VMLOAD, WRMSR, locked operations per event'
	@echo 'make bench-scale   what a fault costs in 64 MiB to 8 GiB, with 1 to 32 guests'
	@echo 'make lint          include directions, headers that stand alone, SPDX lines'
	@echo 'make size          lines by folder against the budgets'
	@echo 'make debug         gdb on the debug kernel, with helpers'
	@echo 'make compile_commands.json  for clangd and the like'
	@echo 'make clean'
	@echo 'Variables: CROSS_COMPILE=prefix CC=clang V=1 DEPS=no NOTIFIER=0 REPLACE=mm/rmap.c:FILE'

-include $(objects:%.o=%.d)
