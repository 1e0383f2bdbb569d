"""Planted near duplicates beside imagededup, CleanVision and fastdup: recall and precision per kind.  About 8 minutes.

    benchmarks/setup-peers audit && .venv/bin/python benchmarks/near_duplicates.py

400 photos (the 200 of photos/ and 200 of TrashNet's training photos) and, of each kind of change, a copy of every one
of them: 800 pictures a kind. Recall: the share of photos that are in one group with their copy; precision: the share
of a tool's pairs that are of one photo. Near duplicates that TrashNet itself holds (planted.TWINS) count as nothing.
The thresholds were set on 100 of the photos (every second) and TrashNet's validation photos, with other borders, marks
and places, and on the pairs that TrashNet itself has; the 300 other photos are also reported alone. imagededup's CNN is
left out: it fetches its weights from the network. near_speed.py has the time.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path

from common import ROOT, SCRATCH, Figure, arguments, clean_environment, context, data_root, figure, fingerprint, finish
from common import write as write_results
from planted import COUNT, KINDS, TWINS, originals, plant

PEER = ROOT / "benchmarks" / ".peers-audit" / "bin" / "python"
TOOLS = ("imagededup-10", "imagededup-16", "cleanvision", "fastdup")
BOUNDED = ("jpeg", "resized", "brighter", "darker", "5 %")
Pairs = dict[str, list[tuple[str, str]]]


def ours(root: Path, threads: int | None = None) -> tuple[Pairs, list[tuple[str, str]]]:
    """Confirmed pairs of each kind, and of all kinds together."""
    import polars as pl

    from anmok.audit.duplicates import near_duplicates
    from anmok.audit.scan import scan
    from anmok.data.sources import open_table

    table = open_table(root)
    images = scan(table, threads=threads).images
    folder = pl.col("id").str.split("/").list.first()

    def pairs(rows: pl.DataFrame) -> list[tuple[str, str]]:
        found = near_duplicates(rows, table.storage.read, threads=threads).findings
        return [(finding.ids[0], finding.ids[1]) for finding in found]

    by_kind = {kind: pairs(images.filter(folder.is_in(["original", kind]))) for kind in KINDS}
    return by_kind, pairs(images)


def theirs(root: Path, tool: str) -> Pairs:
    """The same by a peer, in a process of its own."""
    out = SCRATCH / f"near-{tool}.json"
    command = [PEER, "-W", "ignore", Path(__file__).with_name("peer_duplicates.py"), root, out, tool, *KINDS]
    done = subprocess.run([str(c) for c in command], env=clean_environment(), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{tool} failed:\n{done.stderr[-3000:]}")
    return {kind: [(a, b) for a, b in pairs] for kind, pairs in json.loads(out.read_text()).items()}


def judged(pairs: Iterable[tuple[str, str]], names: list[str], kept: set[int]) -> tuple[int, int, int]:
    """How many pairs are right, wrong, and of twins, of pairs whose photos are both among those kept."""
    right, wrong, twins = 0, 0, 0
    for a, b in pairs:
        one, other = int(Path(a).stem), int(Path(b).stem)
        if one not in kept or other not in kept:
            continue
        if one == other:
            right += 1
        elif frozenset((names[one], names[other])) in TWINS:
            twins += 1
        else:
            wrong += 1
    return right, wrong, twins


def grouped(pairs: Iterable[tuple[str, str]], kind: str, kept: set[int]) -> int:
    """How many photos are connected with their copy of a kind, by whatever pairs."""
    from anmok.audit.union import Union

    numbers: dict[str, int] = {}
    union = Union()
    for pair in pairs:
        union.join(*(numbers.setdefault(name, len(numbers)) for name in pair))
    copies = [(f"original/{i:03d}.jpg", f"{kind}/{i:03d}.jpg") for i in kept]
    return sum(a in numbers and b in numbers and union.find(numbers[a]) == union.find(numbers[b]) for a, b in copies)


def figures_of(tool: str, found: Pairs, names: list[str], kept: set[int], label: str = "") -> list[Figure]:
    """Recall and precision of each kind, and the precision over all of them."""
    out, total = [], (0, 0, 0)
    own = tool == "anmok"
    for kind in KINDS:
        counts = judged(found[kind], names, kept)
        total = tuple(a + b for a, b in zip(total, counts, strict=True))
        recall = grouped(found[kind], kind, kept) / len(kept)
        bound = ">= 0.95" if own and kind.startswith(BOUNDED) else ""
        out.append(figure(f"{tool}{label}", f"recall: {kind}", "share", [recall], bound=bound, note=said(counts)))
        out += precision(f"{tool}{label}", kind, counts)
    return [*out, *precision(f"{tool}{label}", "all", total, ">= 0.99" if own else "")]


def precision(subject: str, kind: str, counts: tuple[int, ...], bound: str = "") -> list[Figure]:
    """Right of right and wrong pairs; nothing where there are none."""
    right, wrong, _ = counts
    if not right + wrong:
        return []
    return [figure(subject, f"precision: {kind}", "share", [right / (right + wrong)], bound=bound, note=said(counts))]


def said(counts: tuple[int, ...]) -> str:
    """The counts in words."""
    return "{} pairs right, {} wrong, {} of twins not counted".format(*counts)


def versions() -> dict[str, str]:
    """Of the peers, by their own metadata."""
    names = ("imagededup", "cleanvision", "fastdup", "numpy", "pillow")
    code = f"import json; from importlib.metadata import version as v; print(json.dumps({{n: v(n) for n in {names}}}))"
    return json.loads(subprocess.run([str(PEER), "-c", code], check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Plant, let everybody look, judge."""
    options = arguments(__doc__)
    data = data_root()
    count = 20 if options.quick else COUNT
    photos = originals(data, count)
    names = [path.stem for path in photos]
    root = SCRATCH / f"planted-{count}"
    plant(photos, root)
    everyone = set(range(2 * count))
    found, together = ours(root)
    figures = figures_of("anmok", found, names, everyone)
    every = f"{len(KINDS) + 1} versions of each in one set"
    figures += precision("anmok", every, judged(together, names, everyone), ">= 0.99")
    unseen = set(range(1, count, 2)) | set(range(count, 2 * count))
    figures += figures_of("anmok", found, names, unseen, " (photos not tuned on)")
    for tool in () if options.quick and not PEER.exists() else TOOLS:
        figures += figures_of(tool, theirs(root, tool), names, everyone)
    where = context(f"{2 * count} photos, {fingerprint(root)}", versions() if PEER.exists() else None)
    finish(write_results("near_duplicates", figures, where, options.quick), options.quick)


if __name__ == "__main__":
    main()
