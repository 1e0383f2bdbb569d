"use strict";
(() => {
  const root = document.documentElement, button = document.getElementById("theme");
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const remembered = () => { try { return localStorage.getItem("anmok-theme"); } catch { return null; } };
  const remember = (theme) => { try { localStorage.setItem("anmok-theme", theme); } catch { /* a page from a file may not */ } };
  const current = () => root.dataset.theme || (system.matches ? "dark" : "light");

  function name() {
    const dark = current() === "dark";
    button.textContent = dark ? "Light" : "Dark";
    button.setAttribute("aria-label", `Switch to ${dark ? "light" : "dark"} colours`);
    button.setAttribute("aria-pressed", String(dark));
  }

  if (["light", "dark"].includes(remembered())) root.dataset.theme = remembered();
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = current() === "dark" ? "light" : "dark";
    remember(root.dataset.theme);
    name();
  });
  system.addEventListener("change", name);
  name();

  for (const image of document.querySelectorAll("img[data-copy]")) image.src = document.getElementById(image.dataset.copy).src;

  const viewer = document.getElementById("viewer"), part = (id) => document.getElementById(`v-${id}`);
  const data = JSON.parse(document.getElementById("images").textContent);
  let series = [], at = 0;

  function element(tag, text, parent) {
    const made = document.createElement(tag);
    made.textContent = text;
    parent.append(made);
    return made;
  }

  function show() {
    const opener = series[at], small = opener.querySelector("img"), large = part("img");
    const [id, label, split, facts, found] = data.images[Number(opener.dataset.image)];
    large.hidden = !small;
    part("none").hidden = Boolean(small);
    if (small) {
      large.src = small.src;
      large.alt = small.alt;
      large.classList.toggle("tiny", Math.max(small.naturalWidth, small.naturalHeight) < 100);
    } else large.removeAttribute("src");
    part("name").textContent = id;
    const pixels = small ? ` · shown at ${small.getAttribute("width")} × ${small.getAttribute("height")} pixels` : "";
    part("where").textContent = `${at + 1} of ${series.length}${pixels}`;
    part("tags").replaceChildren();
    if (label) element("span", label, part("tags")).className = "label";
    if (split) element("span", split, part("tags")).className = "split";
    part("found").replaceChildren();
    for (const [title, evidence] of found) {
      const item = element("li", "", part("found"));
      element("b", title, item);
      if (evidence) element("span", evidence, item);
    }
    part("facts").replaceChildren();
    facts.forEach((fact, i) => {
      if (!fact) return;
      const row = element("div", "", part("facts"));
      element("dt", data.fields[i], row);
      element("dd", fact, row);
    });
    viewer.querySelector(".v-about").scrollTop = 0;
  }

  function step(by) {
    at = (at + by + series.length) % series.length;
    show();
  }

  document.addEventListener("click", (event) => {
    const opener = event.target.closest("button.pic");
    if (!opener) return;
    series = [...opener.closest(".kind, .sheet, section").querySelectorAll("button.pic")];
    at = series.indexOf(opener);
    show();
    viewer.showModal();
  });
  viewer.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    step(by);
  });
  viewer.addEventListener("click", (event) => {
    const by = event.target.closest("[data-step]");
    if (by) step(Number(by.dataset.step));
    else if (event.target === viewer || event.target.closest("[data-close]")) viewer.close();
  });
  viewer.addEventListener("close", () => {
    for (let folded = series[at].closest("details"); folded; folded = folded.parentElement.closest("details")) folded.open = true;
    series[at].focus();
  });
})();
