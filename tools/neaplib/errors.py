# SPDX-License-Identifier: BSD-2-Clause
"""Exit statuses, which scripts rely on, and the one exception that ends a command."""

STATUS_OK = 0
STATUS_GUEST_FAILED = 1
STATUS_USAGE = 2
STATUS_PANIC = 3
STATUS_TIMEOUT = 124


class NeapError(Exception):
    """One clear line for the operator; the command ends with @status."""

    def __init__(self, message, status=STATUS_USAGE):
        super().__init__(message)
        self.status = status


class Stopped(BaseException):
    """Ctrl-C, SIGTERM or SIGHUP: unwinds the stack, so that everything is put back."""

    def __init__(self, signum):
        super().__init__(signum)
        self.signum = signum
