# SPDX-License-Identifier: BSD-2-Clause
"""The operator's keyboard: every key goes to Neap but Ctrl-A, which is ours."""

import sys
import termios
import tty

CTRL_A = 0x01


class RawTerminal:
    """stdin without echo, lines and signals inside a `with` block; as it was after it."""

    def __enter__(self):
        self.fd = sys.stdin.fileno()
        self.saved = termios.tcgetattr(self.fd)
        tty.setraw(self.fd)
        return self

    def __exit__(self, *_):
        termios.tcsetattr(self.fd, termios.TCSADRAIN, self.saved)


class Keys:
    """Ctrl-A x ends the run, Ctrl-A a is Ctrl-A, before any other key it is nothing special."""

    def __init__(self):
        self.quit = False
        self.after_ctrl_a = False

    def feed(self, data):
        """What of @data goes to Neap. Sets self.quit."""
        out = bytearray()
        for byte in data:
            if self.after_ctrl_a:
                self.after_ctrl_a = False
                if byte in b"xX":
                    self.quit = True
                    break
                out.append(CTRL_A)
                if byte not in b"aA" and byte != CTRL_A:
                    out.append(byte)
            elif byte == CTRL_A:
                self.after_ctrl_a = True
            else:
                out.append(byte)
        return bytes(out)
