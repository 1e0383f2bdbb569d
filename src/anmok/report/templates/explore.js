// The parts of a run's page that answer: the images of a cell, and the threshold that moves.
(() => {
  const read = (id) => { const e = document.getElementById(id); return e && JSON.parse(e.textContent); };
  const $ = (id) => document.getElementById(id);
  const texts = read("texts");
  const fill = (key, facts) => texts[key].replace(/\{(\w+)\}/g, (_, name) => facts[name]);
  const counted = (n) => n.toLocaleString("en");

  function cells() {
    const found = new Map(read("cells").map((c) => [JSON.stringify(c.slice(0, 2)), c]));
    const panel = $("cell"), named = { tp: "cell_tp", fn: "cell_fn", fp: "cell_fp" };
    const labels = document.querySelector('[data-figure="outcomes"]');
    let opener = null;

    const title = (truth, predicted) =>
      fill(labels ? named[predicted] : truth === predicted ? "cell_right" : "cell_wrong", { truth, predicted });

    function card([id, prob, address]) {
      const item = document.createElement("li"), line = document.createElement("p"), name = document.createElement("p");
      const picture = document.createElement(address ? "img" : "span");
      if (address) {
        picture.src = address;
        picture.alt = prob === null ? fill("cell_image_only", { id }) : fill("cell_image", { id, prob: prob.toFixed(2) });
      } else {
        picture.className = "noimage";
        picture.textContent = texts.no_picture;
      }
      line.className = "prob";
      line.textContent = prob === null ? "" : prob.toFixed(2);
      name.className = "id";
      name.textContent = id;
      item.append(picture, line, name);
      return item;
    }

    function open(truth, predicted, from) {
      const cell = found.get(JSON.stringify([truth, predicted]));
      if (!cell) return;
      const [, , total, images] = cell, shown = images.length;
      const said = shown === 0 ? "cell_none" : shown < total ? "cell_shown" : "cell_all";
      $("h-cell").textContent = title(truth, predicted);
      const text = fill(said, { shown: counted(shown), total: counted(total) });
      $("cell-said").textContent = shown && images[0][1] !== null ? fill("cell_sure", { said: text }) : text;
      $("cell-images").replaceChildren(...images.map(card));
      document.querySelectorAll(".chosen").forEach((e) => e.classList.remove("chosen"));
      from.classList.add("chosen");
      opener = from;
      panel.hidden = false;
      $("h-cell").focus({ preventScroll: true });
      panel.scrollIntoView({ block: "nearest" });
    }

    function close() {
      panel.hidden = true;
      opener?.classList.remove("chosen");
      if (opener?.isConnected) opener.focus();
    }

    function arm(place) { // a mark of the figure carries the row it was drawn from
      for (const mark of place.querySelectorAll(".mark-rect path")) {
        const row = mark.__data__?.datum;
        if (!row?.images || !found.has(JSON.stringify([row.truth, row.predicted]))) continue;
        mark.setAttribute("tabindex", "0");
        mark.setAttribute("role", "button");
        mark.setAttribute("aria-label", fill("cell_label", { count: counted(row.images), cell: title(row.truth, row.predicted) }));
        mark.classList.add("press");
        const go = () => open(row.truth, row.predicted, mark);
        mark.addEventListener("click", go);
        mark.addEventListener("keydown", (event) => {
          if (event.key === "Enter" || event.key === " ") { event.preventDefault(); go(); }
        });
      }
    }

    for (const name of ["confusion", "outcomes"]) {
      const place = document.querySelector(`[data-figure="${name}"]`);
      place?.addEventListener("drawn", () => arm(place));
    }
    for (const button of document.querySelectorAll("button[data-truth]")) {
      button.addEventListener("click", () => open(button.dataset.truth, button.dataset.predicted, button));
    }
    $("cell-close").addEventListener("click", close);
    panel.addEventListener("keydown", (event) => { if (event.key === "Escape") close(); });
  }

  // Shares come as whole numbers of 1/100,000, -1 where undefined; counts and intervals are looked up, never computed.
  const share = (v) => (v < 0 ? texts.na : `${(v / 1000).toFixed(1)} %`);
  const of100 = (v) => { const n = v / 1000; return n >= 9.5 || n === 0 ? n.toFixed(0) : String(Number(n.toPrecision(2))); };
  const short = (x) => String(Number(x.toPrecision(x >= 1000 ? 4 : 3)));
  const at = (x) => String(Number(x.toPrecision(4)));

  function threshold() {
    const { labels, begin } = read("sliders");
    const choice = $("t-label"), slider = $("t-at"), costs = [$("t-fp"), $("t-fn")];
    let one = labels.find((l) => l.label === begin) || labels[0];
    const spent = (i) => {
      const [fp, fn] = costs.map((c) => (c.value === "" ? NaN : Number(c.value)));
      return fp >= 0 && fn >= 0 ? (100 * (fp * one.fp[i] + fn * (one.positives - one.tp[i]))) / one.n : NaN;
    };
    const money = (x) => (Number.isNaN(x) ? texts.na : short(x));
    const place = (i) => (1000 * i) / Math.max(1, one.at.length - 1);
    const between = (of, i) => (of[0][i] < 0 ? "" : `${share(of[1][i])} – ${share(of[2][i])}`);

    function line(values) {
      let path = "", down = false;
      values.forEach((v, i) => {
        if (v >= 0) path += `${down ? "L" : "M"}${place(i).toFixed(1)} ${(99 - (98 * v) / 100000).toFixed(1)}`;
        down = v >= 0;
      });
      return path;
    }

    function sentence(i, label) {
      const facts = { label, value: at(one.at[i]), positives: counted(one.positives), alarms: counted(one.tp[i] + one.fp[i]) };
      const [p, pl, ph] = one.precision.map((of) => of[i]), [r, rl, rh] = one.recall.map((of) => of[i]);
      if (p < 0) return fill("threshold_no_alarm", facts);
      if (r < 0) return fill("threshold_no_image", facts);
      const rest = (v) => of100(100000 - v);
      return fill("threshold_sentence", { ...facts, false: rest(p), false_low: rest(ph), false_high: rest(pl),
        missed: rest(r), missed_low: rest(rh), missed_high: rest(rl) });
    }

    function show() {
      const i = Number(slider.value), { half, decided } = one.marks;
      const said = {
        "t-value": at(one.at[i]), "t-precision": share(one.precision[0][i]), "t-precision-to": between(one.precision, i),
        "t-recall": share(one.recall[0][i]), "t-recall-to": between(one.recall, i), "t-cost": money(spent(i)),
        "t-tp": counted(one.tp[i]), "t-false": counted(one.fp[i]), "t-missed": counted(one.positives - one.tp[i]),
        "t-tn": counted(one.n - one.positives - one.fp[i]), "t-is": fill("is_label", one), "t-sentence": sentence(i, one.label),
        "t-saved": fill(decided === undefined ? "threshold_saved" : "threshold_saved_decided",
          { half: money(spent(half)), decided: decided === undefined ? "" : money(spent(decided)) }),
      };
      let least = 0;
      one.at.forEach((_, k) => { if (spent(k) < spent(least)) least = k; });
      said["t-cheapest"] = Number.isNaN(spent(least)) ? "" : fill("threshold_cheapest", { cost: money(spent(least)), value: at(one.at[least]) });
      for (const [id, text] of Object.entries(said)) if ($(id).textContent !== text) $(id).textContent = text;
      slider.setAttribute("aria-valuetext", at(one.at[i]));
      $("t-plot").querySelector(".here").setAttribute("d", `M${place(i)} 0V100`);
    }

    function begin_with(label) {
      one = label;
      slider.max = one.at.length - 1;
      slider.value = one.marks.decided ?? one.marks.half;
      costs.forEach((c, k) => { c.value = one.costs[k]; });
      const plot = $("t-plot"), marks = Object.entries(one.marks);
      plot.querySelector(".p").setAttribute("d", line(one.precision[0]));
      plot.querySelector(".r").setAttribute("d", line(one.recall[0]));
      plot.querySelector(".marks").setAttribute("d", marks.map(([, i]) => `M${place(i)} 0V100`).join(""));
      $("t-marks").replaceChildren(...marks.map(([name, i]) => {
        const button = document.createElement("button"), value = at(one.at[i]), text = texts[`threshold_${name}`];
        button.type = "button";
        button.textContent = name === "half" ? text : `${text} ${value}`;
        button.setAttribute("aria-label", fill("threshold_go", { name: text, value }));
        button.addEventListener("click", () => { slider.value = i; show(); });
        return button;
      }));
      show();
    }

    slider.addEventListener("input", show);
    costs.forEach((c) => c.addEventListener("input", show));
    choice?.addEventListener("change", () => begin_with(labels[choice.selectedIndex]));
    if (choice) choice.selectedIndex = labels.indexOf(one);
    begin_with(one);
    $("threshold").hidden = false;
  }

  if ($("cells")) cells();
  if ($("sliders")) threshold();
})();
