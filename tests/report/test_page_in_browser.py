"""The page in a real browser, where there is one: a cell is pressed by key, the slider is moved, nothing is blocked."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
from judged_pages import judged_case
from parsed import Page

from anmok.evaluate.costs import ErrorCosts
from anmok.report.page import render

BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
STEPS = """
setTimeout(() => {
  const marks = [...document.querySelectorAll('[data-figure="confusion"] .press')];
  const wrong = marks.find((m) => m.__data__.datum.truth !== m.__data__.datum.predicted);
  document.body.dataset.armed = marks.length;
  const row = wrong.__data__.datum;
  document.body.dataset.cell = [row.truth, row.predicted, row.images];
  wrong.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true }));
  document.getElementById("t-fn").value = 3;
  const slider = document.getElementById("t-at");
  slider.value = 20;
  slider.dispatchEvent(new Event("input"));
}, 5000);
"""


def dumped(text: str, folder: Path) -> str:
    """The page's DOM after STEPS, which its policy is told to allow."""
    digest = base64.b64encode(hashlib.sha256(STEPS.encode()).digest()).decode()
    end = text.rindex("</body>")
    text = text[:end] + f"<script>{STEPS}</script>" + text[end:]
    path = folder / "page.html"
    path.write_text(text.replace("script-src", f"script-src 'sha256-{digest}'", 1), encoding="utf-8")
    command = [
        BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        f"--user-data-dir={folder / 'profile'}", "--enable-logging=stderr", "--virtual-time-budget=20000", "--dump-dom",
        path.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        pytest.skip(f"the browser does not start here: {done.stderr[-200:]}")
    blocked = [line for line in done.stderr.splitlines() if "CONSOLE" in line and "WARN" not in line]
    assert not blocked, blocked
    return done.stdout


@pytest.mark.skipif(not BROWSER, reason="needs Chromium or Chrome, to run the page's own script")
def test_cells_and_slider_answer(tmp_path: Path) -> None:
    _, content = judged_case(tmp_path, ["calm", "thief"], "binary", costs=ErrorCosts(1, 20))
    page = Page(dumped(render(content), tmp_path))
    body = next(attrs for tag, attrs in page.elements if tag == "body")
    truth, predicted, count = str(body["data-cell"]).split(",")
    assert int(str(body["data-armed"])) == sum(n > 0 for row in content.evaluation["confusion"]["counts"] for n in row)
    assert f"{truth}, taken for {predicted}" in page.seen
    assert f"all {count} shown" in page.seen or f"12 of {count} shown" in page.seen
    pictures = [a for a in page.all("img") if str(a.get("alt")).startswith("Image ")]
    assert len(pictures) == min(12, int(count))
    (slider,) = content.judged.sliders
    t, tp, fp = slider.thresholds[20], slider.tp[20], slider.fp[20]
    missed = slider.positives - tp
    shown = {a["id"]: i for i, (_, a) in enumerate(page.elements) if str(a.get("id")).startswith("t-")}
    assert {"t-precision", "t-recall", "t-cost", "t-sentence"} <= set(shown)
    assert f"From a probability of {t:.4g} on: of 100 alarms for thief" in page.seen
    for text in (
        f"{100 * tp / (tp + fp):.1f} %", f"{100 * tp / slider.positives:.1f} %",
        f"{100 * (fp + 3 * missed) / slider.n:.3g}",
    ):  # fmt: skip
        assert text in page.seen, text
