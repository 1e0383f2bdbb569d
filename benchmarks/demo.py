"""How long `anmok demo` takes and how good its model is.  About a minute and a half.

.venv/bin/python benchmarks/demo.py
"""

from __future__ import annotations

import shutil

from common import ANMOK, arguments, context, figure, finish, fresh, read_json, read_run, run, write


def main() -> None:
    """Three demos into a folder of their own, one where quick."""
    options = arguments(__doc__, repeats={"type": int, "default": 3})
    out = fresh("demo")
    walls, scores = [], []
    for _ in range(1 if options.quick else options.repeats):
        walls.append(run(ANMOK, "demo", "--out", out))
        evaluation = read_json(out / "evaluation.json")
        assert evaluation["split"] == "test"
        scores.append(evaluation["metrics"]["accuracy"])
    last = scores[-1]
    note = f"n={evaluation['n']}; 95 % interval of the last {last['low']:.4f} to {last['high']:.4f}"
    data = read_run(out)[0]["fingerprint"][:16]
    shutil.rmtree(out)
    figures = [
        figure("anmok demo", "wall", "s", walls, bound="<= 60"),
        figure("anmok demo", "test accuracy", "share", [s["value"] for s in scores], bound=">= 0.97", seeds=[0],
               note=note),
    ]  # fmt: skip
    finish(write("demo", figures, context(f"scikit-learn digits; table {data}"), options.quick), options.quick)


if __name__ == "__main__":
    main()
