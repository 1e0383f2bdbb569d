"""Planted near duplicates beside imagededup, CleanVision and fastdup: recall and precision per kind.  About 8 minutes.

    benchmarks/setup-peers-audit && .venv/bin/python benchmarks/near_duplicates.py

400 photos (the 200 of photos/ and 200 of TrashNet's training photos) and, of each kind of change, a copy of every one
of them: 800 pictures a kind. Recall: the share of photos that are in one group with their copy; precision: the share
of a tool's pairs that are of one photo. Near duplicates that TrashNet itself holds (planted.TWINS) count as nothing.
The thresholds were set on 100 of the photos (every second) and TrashNet's validation photos, with other borders, marks
and places; the 300 others are also reported alone. Last, the time of the whole step on TrashNet and photos/, the scan
not counted. imagededup's CNN is left out: it fetches its weights from the network.
"""

from __future__ import annotations

import json
import subprocess
import time
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


def judged(pairs: Iterable[tuple[str, str]], names: list[str], kept: set[int]) -> tuple[list[int], int]:
    """(photos of the right pairs, number of wrong pairs), of pairs whose photos are both among those kept."""
    right, wrong = [], 0
    for a, b in pairs:
        one, other = int(Path(a).stem), int(Path(b).stem)
        if one not in kept or other not in kept:
            continue
        if one == other:
            right.append(one)
        elif frozenset((names[one], names[other])) not in TWINS:
            wrong += 1
    return right, wrong


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
    out, all_right, all_wrong = [], 0, 0
    own = tool == "anmok"
    for kind in KINDS:
        right, wrong = judged(found[kind], names, kept)
        all_right, all_wrong = all_right + len(right), all_wrong + wrong
        recall = grouped(found[kind], kind, kept) / len(kept)
        bound = ">= 0.95" if own and kind.startswith(BOUNDED) else ""
        note = f"{len(right)} pairs right, {wrong} wrong"
        out.append(figure(f"{tool}{label}", f"recall: {kind}", "share", [recall], bound=bound, note=note))
        if right or wrong:
            precision = len(right) / (len(right) + wrong)
            out.append(figure(f"{tool}{label}", f"precision: {kind}", "share", [precision], note=note))
    total = all_right / max(all_right + all_wrong, 1)
    note = f"{all_right} pairs right, {all_wrong} wrong"
    bound = ">= 0.99" if own else ""
    return [*out, figure(f"{tool}{label}", "precision: all", "share", [total], bound=bound, note=note)]


def step_seconds(data: Path, repeats: int) -> list[Figure]:
    """The step on TrashNet and photos/: candidates, confirmation, groups; the scan is done before."""
    import polars as pl

    from anmok.audit.duplicates import near_duplicates
    from anmok.audit.scan import scan
    from anmok.data.sources import open_table

    sets = [(table, scan(table).images) for table in (open_table(data / "trashnet"), open_table(data / "photos"))]
    homes = {image: table for table, images in sets for image in images["image"]}
    both = pl.concat([images for _, images in sets])
    seconds, found = [], None
    for _ in range(repeats):
        began = time.perf_counter()
        found = near_duplicates(both, lambda image: homes[image].storage.read(image))
        seconds.append(time.perf_counter() - began)
    assert found is not None
    note = f"{both.height} images, {found.tried} pairs looked at, {len(found.findings)} confirmed"
    return [figure("anmok", "near duplicates of trashnet and photos", "s", seconds, bound="<= 0.4", note=note)]


def versions() -> dict[str, str]:
    """Of the peers, by their own metadata."""
    names = ("imagededup", "cleanvision", "fastdup", "numpy", "pillow")
    code = f"import json; from importlib.metadata import version as v; print(json.dumps({{n: v(n) for n in {names}}}))"
    return json.loads(subprocess.run([str(PEER), "-c", code], check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Plant, let everybody look, judge."""
    options = arguments(__doc__, repeats={"type": int, "default": 5})
    data = data_root()
    count = 20 if options.quick else COUNT
    photos = originals(data, count)
    names = [path.stem for path in photos]
    root = SCRATCH / f"planted-{count}"
    plant(photos, root)
    everyone = set(range(2 * count))
    found, together = ours(root)
    figures = figures_of("anmok", found, names, everyone)
    right, wrong = judged(together, names, everyone)
    note = f"{len(right)} pairs right, {wrong} wrong"
    share = len(right) / max(len(right) + wrong, 1)
    every = f"precision: {len(KINDS) + 1} versions in one set"
    figures.append(figure("anmok", every, "share", [share], bound=">= 0.99", note=note))
    unseen = set(range(1, count, 2)) | set(range(count, 2 * count))
    figures += figures_of("anmok", found, names, unseen, " (photos not tuned on)")
    for tool in () if options.quick and not PEER.exists() else TOOLS:
        figures += figures_of(tool, theirs(root, tool), names, everyone)
    figures += step_seconds(data, 1 if options.quick else options.repeats)
    where = context(f"{2 * count} photos, {fingerprint(root)}", versions() if PEER.exists() else None)
    finish(write_results("near_duplicates", figures, where, options.quick), options.quick)


if __name__ == "__main__":
    main()
