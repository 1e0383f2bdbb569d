"""Near duplicates as peers find them, run by the peers' Python: peer_duplicates.py ROOT OUT.json TOOL KIND ...

ROOT holds folders of photos; each KIND is looked for in ROOT/original and ROOT/KIND together. OUT.json gets a list of
pairs of 'folder/file' a kind. TOOL: imagededup-N (PHash within N bits; the tool's default is 10), cleanvision (its near
and exact duplicates), fastdup (similarity 0.9 or more, its default). imagededup's CNN needs weights from the network.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import tempfile
import warnings
from pathlib import Path

os.environ["SENTRY_OPT_OUT"] = "1"
warnings.filterwarnings("ignore")


def imagededup(root: Path, kinds: list[str], bits: int) -> dict[str, list[list[str]]]:
    """Each picture is hashed once; the search is imagededup's."""
    from imagededup.methods import PHash

    method = PHash(verbose=False)
    hashes = {
        folder: {f"{folder}/{name}": code for name, code in method.encode_images(root / folder).items()}
        for folder in ("original", *kinds)
    }
    found = {}
    for kind in kinds:
        both = hashes["original"] | hashes[kind]
        pairs = method.find_duplicates(encoding_map=both, max_distance_threshold=bits)
        found[kind] = [[a, b] for a, near in pairs.items() for b in near if a < b]
    return found


def cleanvision(root: Path, kinds: list[str]) -> dict[str, list[list[str]]]:
    """Sets, given as all pairs in them."""
    from cleanvision import Imagelab

    found = {}
    for kind in kinds:
        files = [str(p) for folder in ("original", kind) for p in sorted((root / folder).iterdir())]
        lab = Imagelab(filepaths=files, verbose=False)
        lab.find_issues({"near_duplicates": {}, "exact_duplicates": {}}, n_jobs=1, verbose=False)
        sets = [s for issue in ("near_duplicates", "exact_duplicates") for s in lab.info[issue]["sets"]]
        found[kind] = [sorted(named(root, pair)) for group in sets for pair in itertools.combinations(group, 2)]
    return found


def fastdup(root: Path, kinds: list[str]) -> dict[str, list[list[str]]]:
    """Pairs among its two nearest neighbours of each picture."""
    import fastdup as peer

    found = {}
    for kind in kinds:
        files = [str(p) for folder in ("original", kind) for p in sorted((root / folder).iterdir())]
        with tempfile.TemporaryDirectory() as work:
            run = peer.create(work_dir=work, input_dir=files)
            run.run(threshold=0.9, run_sentry=False, overwrite=True, print_summary=False)
            pairs = run.similarity()
        rows = zip(pairs["filename_from"], pairs["filename_to"], strict=True)
        found[kind] = [list(p) for p in {tuple(sorted(named(root, row))) for row in rows}]
    return found


def named(root: Path, paths: tuple[str, ...]) -> list[str]:
    """'folder/file' of each path, which may be absolute or not."""
    return ["/".join(Path(path).parts[-2:]) for path in paths]


def main() -> None:
    """One tool over all kinds."""
    root, out, tool, *kinds = sys.argv[1:]
    if tool.startswith("imagededup-"):
        found = imagededup(Path(root), kinds, int(tool.removeprefix("imagededup-")))
    else:
        found = {"cleanvision": cleanvision, "fastdup": fastdup}[tool](Path(root), kinds)
    Path(out).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
