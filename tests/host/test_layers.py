# SPDX-License-Identifier: BSD-2-Clause
"""tools/layers.py finds what it is there to find, and tools/size.py counts."""

import shutil
import subprocess
import sys
import unittest

from support import HostTest, TOOLS

import layers
import size


class PlantedTest(HostTest):
    """Each test plants one fault in a small tree that has none."""

    LICENCE = "/* SPDX-License-Identifier: BSD-2-Clause */\n"

    def plant(self, path, text, licence=LICENCE):
        self.file(f"tree/{path}", (licence + text).encode())
        return self.dir / "tree"

    def problems(self, check, *args):
        return check(self.dir / "tree", *args)[1]

    def setUp(self):
        super().setUp()
        self.plant("kernel/main.c", '#include "monitor/shell.h"\n#include "drivers/serial.h"\n')
        self.plant("kernel/lib/types.h", "#pragma once\ntypedef unsigned char u8;\n")
        self.plant("kernel/mm/frame.h", '#pragma once\n#include "lib/types.h"\n')
        self.plant("kernel/mm/rmap.c", '#include <stddef.h>\n#include "notifier/notifier.h"\n')
        self.plant("kernel/vmm/hvm.c", '#include "vmm/amd/svm.h"\n#include "vmm/intel/vmx.h"\n')
        self.plant("kernel/vmm/amd/svm.c", '#include "vmm/amd/svm.h"\n#include "vmm/vm.h"\n')
        self.plant("drivers/serial.c", '#include "lib/types.h"\n#include "mm/frame.h"\n')
        self.plant("boot/start.S", '#include "cpu/memory.h"\n')

    def test_good_tree(self):
        for check in (layers.check_includes, layers.check_licence, layers.check_conditionals):
            self.assertEqual(self.problems(check), [])

    def test_bad_includes(self):
        for path, header in (("kernel/mm/bad.c", "vmm/vm.h"), ("kernel/lib/bad.h", "cpu/x86.h"),
                             ("kernel/notifier/bad.c", "mm/page.h"),
                             ("kernel/sched/bad.c", "notifier/notifier.h"),
                             ("kernel/vmm/bad.c", "monitor/shell.h"),
                             ("kernel/vmm/bad.c", "vmm/amd/svm.h"),
                             ("kernel/vmm/devices/bad.c", "vmm/intel/vmx.h"),
                             ("kernel/vmm/amd/bad.c", "vmm/intel/vmx.h"),
                             ("kernel/monitor/bad.c", "drivers/serial.h"),
                             ("kernel/mm/bad.c", "drivers/serial.h"),
                             ("drivers/bad.c", "mm/page.h"), ("drivers/bad.c", "vmm/vm.h"),
                             ("boot/bad.S", "mm/page.h"), ("kernel/mm/bad.c", "page.h")):
            planted = self.plant(path, f'\n#  include "{header}" /* why not */\n') / path
            problems = self.problems(layers.check_includes)
            self.assertEqual(len(problems), 1, (path, header))
            self.assertTrue(problems[0].startswith(f"{path}:3: includes {header}: "), problems)
            planted.unlink()

    def test_hosted_library(self):
        self.plant("kernel/mm/bad.c", "#include <stdio.h>\n")
        self.assertEqual(len(self.problems(layers.check_includes)), 1)

    def test_licence(self):
        self.plant("tests/unit/bad.c", "int x;\n", licence="")
        self.plant("tools/bad", "#!/bin/sh\necho\n", licence="")
        self.plant("tools/good", "#!/bin/sh\n# SPDX-License-Identifier: BSD-2-Clause\n", licence="")
        self.plant("tests/data", "no script\n", licence="")
        self.assertEqual(self.problems(layers.check_licence),
                         ["tests/unit/bad.c:1: no SPDX line", "tools/bad:2: no SPDX line"])

    def test_conditionals(self):
        self.plant("kernel/mm/bad.c", "#ifdef X\n#endif\n  # if 1\n# endif\n")
        self.plant("kernel/mm/fine.h", "#if NEAP_DEBUG\n#endif\n")
        self.assertEqual(self.problems(layers.check_conditionals),
                         ["kernel/mm/bad.c:2: #if in a .c file",
                          "kernel/mm/bad.c:4: #if in a .c file"])

    @unittest.skipUnless(shutil.which("gcc"), "no gcc")
    def test_header_that_does_not_stand_alone(self):
        self.plant("kernel/mm/bad.h", "#pragma once\nu8 bad(u8 x);\n")
        problems = self.problems(layers.check_headers, None)
        self.assertEqual(len(problems), 1)
        self.assertRegex(problems[0], r"kernel/mm/bad\.h: does not compile alone: .*u8")

    @unittest.skipUnless(shutil.which("gcc") and shutil.which("nm"), "no gcc or nm")
    def test_symbol_behind_the_headers_back(self):
        build = self.dir / "build"
        self.compile("int vm_secret(void) { return 1; }", build / "kernel/vmm/vm.o")
        self.compile("int mm_own(void) { return 1; }", build / "kernel/mm/own.o")
        self.compile("int mm_own(void); int f(void) { return mm_own(); }",
                     build / "kernel/mm/good.o")
        self.assertEqual(layers.check_objects(build), (2, []))
        self.compile("int vm_secret(void); int g(void) { return vm_secret(); }",
                     build / "kernel/mm/bad.o")
        problems = layers.check_objects(build)[1]
        self.assertEqual(len(problems), 1)
        self.assertIn("bad.o: uses vm_secret", problems[0])

    def test_build_without_objects(self):
        self.assertEqual(len(layers.check_objects(self.dir)[1]), 1)

    def compile(self, text, output):
        output.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["gcc", "-c", "-x", "c", "-", "-o", str(output)], input=text, text=True,
                       check=True)

    def test_command_fails_on_a_fault_alone(self):
        for expected in (0, 1):
            result = subprocess.run([sys.executable, str(TOOLS / "layers.py"), "--root",
                                     str(self.dir / "tree")], stdout=subprocess.PIPE, text=True)
            self.assertEqual(result.returncode, expected, result.stdout)
            self.plant("kernel/mm/bad.c", '#include "vmm/vm.h"\n')


class SizeTest(HostTest):
    def test_counts_and_budget(self):
        root = self.dir / "tree"
        self.file("tree/kernel/main.c", b"/* two\nlines */\n\na; /* c */\nb = \"/*\";\n// x\n")
        self.file("tree/kernel/mm/page.c", b"x\n" * 4000)
        self.file("tree/drivers/font.txt", b"x\n" * 30000)
        self.file("tree/tests/unit/test.c", b"x\n" * 30000)
        files, lines, physical = size.count(root)
        self.assertEqual(dict(lines), {"kernel": 2, "kernel/mm": 4000})
        self.assertEqual(dict(physical), {"kernel": 6, "kernel/mm": 4000})
        self.assertEqual(dict(files), {"kernel": 1, "kernel/mm": 1})
        self.assertEqual(self.command(root), 0)
        self.file("tree/kernel/notifier/notifier.c", b"x\n" * 1000)
        self.assertEqual(self.command(root), 1)

    def command(self, root):
        return subprocess.run([sys.executable, str(TOOLS / "size.py"), "--root", str(root)],
                              stdout=subprocess.DEVNULL).returncode
