# SPDX-License-Identifier: BSD-2-Clause
"""Helpers for gdb on a running Neap: `make debug` loads them.

    neap-cpus            what each CPU does
    neap-threads         every thread, and where those that wait were left
    neap-bt NAME         the calls of a thread that is not on a CPU
    neap-vms             every VM and its vCPUs
    neap-page PFN        one frame: whose it is, who maps it

They read the kernel's own structures and change nothing (neap-bt borrows the registers and puts
them back). CPUs are gdb's threads: `info threads`, `thread apply all bt`.
"""

import gdb

PAGE_SHIFT = 12
OWNER_SHIFT, OWNER_MASK = 16, 0xf
ORDER_SHIFT = 24
RMAP_HVA = 0xfffffffff000

# What context_switch leaves on a stack, from the top down, below the return address.
SAVED_REGISTERS = ["r15", "r14", "r13", "r12", "rbx", "rbp"]
WORD = 8


def value(expression):
    return gdb.parse_and_eval(expression)


def enum_name(item, prefix):
    """VM_RUNNING as "running"."""
    name = str(item)
    return name[len(prefix):].lower() if name.startswith(prefix) else name


def list_of(head, kind, member):
    """The structs of type @kind whose `struct list` @member hangs on @head."""
    kind = gdb.lookup_type(kind)
    offset = next(field.bitpos // 8 for field in kind.fields() if field.name == member)
    node = head["next"]
    while node != head.address:
        yield gdb.Value(int(node) - offset).cast(kind.pointer()).dereference()
        node = node["next"]


def threads():
    return list_of(value("'thread.c'::threads"), "struct thread", "all")


def symbol_of(address):
    """An address as function+offset, as gdb writes it."""
    return gdb.execute(f"info symbol {int(address):#x}", to_string=True).split(" in section")[0]


def return_address(thread):
    """Where a thread that left its CPU goes on: the word above the saved registers."""
    slot = int(thread["rsp"]) + WORD * len(SAVED_REGISTERS)
    return int(value(f"*(unsigned long *){slot:#x}"))


def vcpus():
    """Every vCPU, found by its thread: those run vcpu_loop, with the vCPU as argument."""
    loop = int(value("&vcpu_loop"))
    kind = gdb.lookup_type("struct vcpu").pointer()
    return [thread["arg"].cast(kind).dereference() for thread in threads()
            if int(thread["fn"]) == loop]


class Command(gdb.Command):
    """One of ours: registers under its class's `name`, `run` does the work."""

    name = ""

    def __init__(self):
        super().__init__(self.name, gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        self.run(argument.strip())


class Cpus(Command):
    """neap-cpus: what each CPU does."""

    name = "neap-cpus"

    def run(self, _argument):
        for index in range(int(value("nr_cpus"))):
            cpu = value(f"*cpus[{index}]")
            thread = cpu["current"].dereference()
            ranks = [int(cpu["ranks"][i]) for i in range(int(cpu["nr_ranks"]))]
            print(f"cpu {index}: {thread['name'].string()}, preempt_count"
                  f" {int(cpu['preempt_count'])}, irqs {int(cpu['irqs'])},"
                  f" flushes {int(cpu['tlb_flushes'])}"
                  f"{', holds ranks ' + str(ranks) if ranks else ''}"
                  f"{', in panic' if cpu['in_panic'] else ''}")


class Threads(Command):
    """neap-threads: every thread, and where those that wait were left."""

    name = "neap-threads"

    def run(self, _argument):
        for thread in threads():
            where = "" if thread["on_cpu"] else symbol_of(return_address(thread))
            print(f"{thread['name'].string():<20} {enum_name(thread['state'], 'THREAD_'):<9}"
                  f" cpu {int(thread['cpu'])}{' running' if thread['on_cpu'] else '  ' + where}")


class Backtrace(Command):
    """neap-bt NAME: the calls of a thread that is not on a CPU.

    The registers of the CPU that gdb looks at become the thread's for as long as it takes."""

    name = "neap-bt"

    def run(self, argument):
        found = [thread for thread in threads() if thread["name"].string() == argument]
        if len(found) != 1:
            raise gdb.GdbError(f"neap-bt: {len(found)} threads are named '{argument}'")
        if found[0]["on_cpu"]:
            raise gdb.GdbError(f"neap-bt: {argument} is on cpu {int(found[0]['cpu'])}:"
                               " look at it with `thread` and `bt`")
        stack = int(found[0]["rsp"])
        names = SAVED_REGISTERS + ["rip", "rsp"]
        after = stack + WORD * (len(SAVED_REGISTERS) + 1)
        wanted = [int(value(f"*(unsigned long *){stack + WORD * i:#x}"))
                  for i in range(len(SAVED_REGISTERS) + 1)] + [after]
        gdb.execute("select-frame 0")
        saved = [int(value(f"(unsigned long)${name}")) for name in names]
        try:
            self.set_registers(names, wanted)
            gdb.execute("backtrace")
        finally:
            self.set_registers(names, saved)

    @staticmethod
    def set_registers(names, values):
        for name, number in zip(names, values):
            gdb.execute(f"set ${name} = {number:#x}", to_string=True)


class Vms(Command):
    """neap-vms: every VM and its vCPUs."""

    name = "neap-vms"

    def run(self, _argument):
        shown = None
        for vcpu in vcpus():
            vm = vcpu["vm"].dereference()
            if shown != vm.address:
                shown = vm.address
                print(f"{vm['config']['name'].string()}: {enum_name(vm['state'], 'VM_')},"
                      f" mem {int(vm['config']['mem_bytes']) >> 10} KiB,"
                      f" anon {int(vm['mm']['nr_anon'])} pages,"
                      f" secondary tables {int(vm['nr_sptables'])}, (struct vm *){int(shown):#x}")
            in_guest = enum_name(vcpu["mode"].cast(gdb.lookup_type("enum vcpu_mode")), "VCPU_")
            doing = enum_name(vcpu["activity"].cast(gdb.lookup_type("enum vcpu_activity")), "VCPU_")
            print(f"  vcpu {int(vcpu['index'])}: rip {int(vcpu['rip']):#x} {doing}, {in_guest},"
                  f" requests {int(vcpu['requests']):#x}, last exit"
                  f" {enum_name(vcpu['exit']['reason'], 'EXIT_')},"
                  f" (struct vcpu *){int(vcpu.address):#x}")


class Page(Command):
    """neap-page PFN: one frame: whose it is, who maps it."""

    name = "neap-page"

    def run(self, argument):
        try:
            pfn = int(value(argument or "''"))
        except gdb.error:
            raise gdb.GdbError("neap-page: give a frame number (an address >> 12)") from None
        if not 0 <= pfn < int(value("page_array_nr")):
            raise gdb.GdbError(f"neap-page: there are {int(value('page_array_nr'))} frames")
        page = value(f"page_array[{pfn}]")
        flags = int(page["flags"])
        kind = gdb.lookup_type("enum page_flag")
        names = [field.name[len("PG_"):].lower() for field in kind.fields()
                 if flags & field.enumval]
        owner = gdb.Value(flags >> OWNER_SHIFT & OWNER_MASK)
        owner = owner.cast(gdb.lookup_type("enum frame_owner"))
        print(f"pfn {pfn:#x} (phys {pfn << PAGE_SHIFT:#x}): {enum_name(owner, 'FRAME_')},"
              f" refcount {int(page['refcount'])}, mapcount {int(page['mapcount'])},"
              f" flags {' '.join(names) or 'none'}")
        if "buddy" in names:
            print(f"  heads a free block of order {flags >> ORDER_SHIFT}")
        if "anon" in names:
            for entry in self.rmap_entries(page, "rmap_chain" in names):
                print(f"  mm {entry >> 48} maps it at hva {entry & RMAP_HVA:#x}")

    @staticmethod
    def rmap_entries(page, is_chain):
        """One entry in the page itself, or nodes of which the first alone may be partly filled."""
        if not is_chain:
            return [int(page["rmap"])]
        entries = []
        node = page["rmap"].cast(gdb.lookup_type("struct rmap_node").pointer())
        left = int(page["mapcount"])
        size = node["entry"].type.range()[1] + 1
        while left > 0 and int(node) != 0:
            filled = (left - 1) % size + 1
            entries += [int(node["entry"][i]) for i in range(filled)]
            left -= filled
            node = node["next"]
        return entries


for command in (Cpus, Threads, Backtrace, Vms, Page):
    command()
