# SPDX-License-Identifier: BSD-2-Clause
"""The tree builds without a warning, with gcc and clang, and stays within its rules."""

import json
import os
import re
import shutil
import subprocess

from harness import Job, Skip, expect

# What a make above us has told its children is not meant for ours.
NOT_OURS = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES", "DEBUG", "NOTIFIER",
            "TEST", "SEED")

KERNELS = {  # job: what make is told, beside `kernel`
    "build/release": ["DEBUG=0"],
    "build/debug": ["DEBUG=1"],
    "build/no_notifier": ["DEBUG=0", "NOTIFIER=0"],
    "build/clang": ["DEBUG=0", "CC=clang", "OUT=build/clang"],
    "build/clang_debug": ["DEBUG=1", "CC=clang", "OUT=build/clang/debug"],
}


def make(task, *words):
    env = {key: value for key, value in os.environ.items() if key not in NOT_OURS}
    status, out = task.output(["make", f"-j{task.settings.jobs}", *words], timeout=400, env=env)
    errors = [line for line in out.splitlines() if re.search(r"error|warning|\*\*\*", line)]
    expect(status == 0, "\n".join([f"make {' '.join(words)} failed", *errors[:10]]))
    warnings = [line for line in errors if "warning:" in line]
    expect(not warnings, "\n".join([f"{len(warnings)} warnings", *warnings[:10]]))


def kernel(words):
    def run(task):
        if "CC=clang" in words and not shutil.which("clang"):
            raise Skip("clang is not installed")
        make(task, *words, "kernel")
    return run


def no_notifier(task):
    """N8: without the notifier its calls are gone from mm, not only its work."""
    make(task, *KERNELS["build/no_notifier"], "kernel")
    objects = sorted((task.settings.root / "build/nonotifier/obj/kernel/mm").glob("*.o"))
    expect(objects, "there are no objects of mm")
    out = subprocess.run(["nm", "-A", *map(str, objects)], check=True, text=True,
                         stdout=subprocess.PIPE).stdout
    calls = [line for line in out.splitlines() if re.search(r" U notifier_", line)]
    expect(not calls, "\n".join(["mm still calls the notifier", *calls[:10]]))


def tool(*words):
    def run(task):
        status, out = task.output(words, timeout=120)
        expect(status == 0, "\n".join([f"{words[1]} says", *out.splitlines()[-12:]]))
    return run


def compile_commands(task):
    """clangd's file can be made, and names every source once."""
    path = task.settings.root / "compile_commands.json"
    path.unlink(missing_ok=True)
    make(task, "DEBUG=0", path.name)
    entries = json.loads(path.read_text())
    files = [entry["file"] for entry in entries]
    sources = [str(path.relative_to(task.settings.root)) for folder in ("kernel", "drivers")
               for path in (task.settings.root / folder).rglob("*.c")]
    expect(sorted(files) == sorted(sources), f"{len(files)} entries for {len(sources)} sources")


def jobs(settings):
    built = [Job(name, no_notifier if name == "build/no_notifier" else kernel(words),
                 quick=name in ("build/release", "build/debug"), alone=True)
             for name, words in KERNELS.items()]
    return built + [
        Job("build/guests", lambda task: make(task, "guests"), quick=True, alone=True),
        Job("build/unit", lambda task: make(task, "unit-build"), quick=True, alone=True),
        Job("build/fuzz", lambda task: make(task, "fuzz-build"), alone=True),
        Job("tree/compile_commands", compile_commands, needs=("build/release",)),
        Job("tree/lint", tool("python3", "tools/layers.py", "build"), needs=("build/release",),
            quick=True),
        Job("tree/size", tool("python3", "tools/size.py"), quick=True),
    ]
