"""The end of one of several processes."""

from __future__ import annotations

import atexit
import os
import sys
from typing import NoReturn


def leave(code: int) -> NoReturn:
    """End this process with its exit functions called and its output written, but the interpreter not torn down.

    A thread of torch.distributed that asks for the interpreter while it shuts down would end the process with SIGABRT,
    after all is done.
    """
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
