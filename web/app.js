// The page's frame: where we are (#/, #/run/ID, #/run/ID/trace/PATH), the stream, the theme.

import { get_runs, open_stream } from "./api.js";
import { h, say } from "./dom.js";
import { runs_view } from "./runs_view.js";
import { run_view } from "./run_view.js";

const main = document.getElementById("main");
const crumbs = document.getElementById("crumbs");
const link = document.getElementById("link");
const announcer = document.getElementById("announcer");

let view = null;

function place() {
  const parts = location.hash.replace(/^#\/?/, "").split("/");
  if (parts[0] === "run" && parts[1]) {
    const rest = parts.slice(3).map(decodeURIComponent).join("/");
    return { name: "run", id: decodeURIComponent(parts[1]), tab: parts[2] || "", under: rest };
  }
  return { name: "runs" };
}

function show() {
  const at = place();
  if (view?.accepts?.(at)) return;
  view?.close();
  main.replaceChildren();
  view = at.name === "run" ? run_view(main, at, { set_crumbs, announce }) : runs_view(main, { set_crumbs, announce });
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
}

function set_crumbs(...items) {
  crumbs.replaceChildren(...items.flatMap((item, i) => [i > 0 ? h("span", { class: "sep", "aria-hidden": "true" }, "/") : null,
    item.href ? h("a", { href: item.href }, item.text) : h("span", { "aria-current": "page" }, item.text)]).filter(Boolean));
  document.title = `${items.map((item) => item.text).join(" / ")} · Assay HUD`;
}

let announced_ms = 0;
function announce(text) {
  if (performance.now() - announced_ms < 4000) return;
  announced_ms = performance.now();
  say(announcer, text);
}

function set_theme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  say(document.getElementById("theme"), `Theme: ${theme}`);
  try {
    localStorage.setItem("assay-theme", theme);
  } catch { /* a browser that keeps nothing: the choice lasts as long as the page */ }
}

function start_theme() {
  const themes = ["auto", "light", "dark"];
  let theme = "auto";
  try {
    theme = localStorage.getItem("assay-theme") ?? "auto";
  } catch { /* as above */ }
  if (!themes.includes(theme)) theme = "auto";
  set_theme(theme);
  document.getElementById("theme").addEventListener("click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    set_theme(theme);
  });
}

addEventListener("hashchange", show);
addEventListener("keydown", (event) => {
  if (event.target.closest?.("input, textarea, select") || event.ctrlKey || event.metaKey || event.altKey) return;
  view?.key?.(event);
});

start_theme();
show();
open_stream(
  (name, data) => view?.event(name, data),
  (state) => {
    link.dataset.state = state;
    say(link, state === "live" ? "live" : "reconnecting");
  },
);
// Without a stream (a proxy, a server that went) the list is still fetched now and then.
setInterval(() => link.dataset.state === "live" || get_runs().then(() => view?.event("hello", {})).catch(() => {}), 10_000);
