#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Print compile_commands.json, which clangd and its like read: compdb.py 'CC FLAGS...' SOURCE..."""

import json
import os
import sys


def main():
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    command, *sources = sys.argv[1:]
    json.dump([{"directory": os.getcwd(), "file": source, "command": f"{command} -c {source}"}
               for source in sources], sys.stdout, indent=1)
    print()
    return 0


sys.exit(main())
