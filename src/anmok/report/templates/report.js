"use strict";
(() => {
  const root = document.documentElement, button = document.getElementById("theme");
  const themes = JSON.parse(document.getElementById("themes").textContent);
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const remembered = () => { try { return localStorage.getItem("anmok-theme"); } catch { return null; } };
  const remember = (theme) => { try { localStorage.setItem("anmok-theme", theme); } catch { /* a page from a file may not */ } };
  const current = () => root.dataset.theme || (system.matches ? "dark" : "light");
  const said = button.dataset; // the words of the page's language, where it has any
  const specs = new Map([...document.querySelectorAll("script[data-spec]")].map((s) => [s.dataset.spec, s]));
  const drawn = new Map();

  async function draw(place) {
    const theme = current(), name = place.dataset.figure;
    if (drawn.get(place)?.theme === theme) return;
    drawn.get(place)?.result?.finalize();
    drawn.set(place, { theme });
    const result = await vegaEmbed(place, JSON.parse(specs.get(name).textContent), {
      mode: "vega-lite", actions: false, renderer: "svg", ast: true, config: themes[theme], tooltip: { theme },
    });
    drawn.set(place, { theme, result });
    place.dispatchEvent(new CustomEvent("drawn"));
  }

  const places = [...document.querySelectorAll("[data-figure]")];

  async function show() {
    const dark = current() === "dark";
    button.textContent = dark ? said.light || "Light" : said.dark || "Dark";
    button.setAttribute("aria-label", (dark ? said.toLight : said.toDark) || `Switch to ${dark ? "light" : "dark"} colours`);
    button.setAttribute("aria-pressed", String(dark));
    for (const place of places) await draw(place);
  }

  if (["light", "dark"].includes(remembered())) root.dataset.theme = remembered();
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = current() === "dark" ? "light" : "dark";
    remember(root.dataset.theme);
    show();
  });
  system.addEventListener("change", show);
  show();
})();
