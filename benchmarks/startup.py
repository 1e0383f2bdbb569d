"""How long `anmok --help` takes beside a bare import of what it cannot do without.  About 20 s.

.venv/bin/python benchmarks/startup.py
"""

from __future__ import annotations

import statistics
import sys

from common import ANMOK, arguments, context, figure, finish, run, write

BARE = "import cyclopts, pydantic"


def main() -> None:
    """Alternate the two commands, so that a change in the machine's mood meets both."""
    options = arguments(__doc__, repeats={"type": int, "default": 21})
    repeats = 3 if options.quick else options.repeats
    for _ in range(2):  # bytecode and the file cache
        run(ANMOK, "--help")
        run(sys.executable, "-c", BARE)
    ours, bare = [], []
    for _ in range(repeats):
        ours.append(run(ANMOK, "--help"))
        bare.append(run(sys.executable, "-c", BARE))
    base = f'python -c "{BARE}"'
    figures = [
        figure("anmok --help", "wall", "s", ours, bound="<= 0.35"),
        figure(base, "wall", "s", bare),
        figure("anmok --help", "wall, relative", "s", ours, against=(base, statistics.median(bare)), bound="<= 1.5"),
    ]
    finish(write("startup", figures, context("none"), options.quick), options.quick)


if __name__ == "__main__":
    main()
