// All runs and compiles: the first thing one sees.

import { get_runs } from "./api.js";
import { h, keyed, say, short_id, throttled, visible } from "./dom.js";
import { ago, compact, count, duration, moment, price, score, signed_score, tokens_of } from "./format.js";

const shown_max = 300;

export const run_href = (row) => `#/run/${encodeURIComponent(row.id)}`;

export function elapsed_ns(row) {
  return row.state === "running" ? Math.max(row.elapsed_ns, (Date.now() - row.started_unix_ms) * 1e6) : row.elapsed_ns;
}

export const run_name = (row) => visible(row.program || row.file || short_id(row.id));

export const badge = (state) => h("span", { class: "badge", "data-state": state }, state);

function tile(label, hint) {
  const value = h("dd", {}, "–");
  const note = h("dd", { class: "note" }, "");
  return { element: h("div", { class: "tile", title: hint }, h("dt", {}, label), value, note), value, note };
}

/** A row of figures: tiles("Runs", …).set(i, value, note). */
export function tiles(...labels) {
  const all = labels.map((label) => tile(label));
  return {
    element: h("dl", { class: "tiles" }, all.map((each) => each.element)),
    set(i, value, note = "", tone = "") {
      say(all[i].value, value);
      say(all[i].note, note);
      all[i].element.dataset.tone = tone;
    },
  };
}

function score_text(best) {
  if (!best) return "";
  return best.baseline === null ? score(best.score) : `${score(best.score)}  ${signed_score(best.score - best.baseline)}`;
}

const columns = ["State", "Program", "Started", "Elapsed", "LM calls", "Tokens", "Price", "Score"];

function make_row(row) {
  const cells = columns.map((column, i) => h(i === 1 ? "th" : "td", { class: i >= 3 ? "num" : null, scope: i === 1 ? "row" : null, "data-label": column }));
  cells[0].append(badge(row.state));
  cells[1].append(h("a", { href: run_href(row) }, ""), h("span", { class: "sub mono" }, ""));
  const element = h("tr", {}, cells);
  element.addEventListener("click", (event) => {
    if (!event.target.closest("a, button") && !getSelection().toString()) location.hash = run_href(row);
  });
  return element;
}

function update_row(element, row) {
  const [state, program, started, elapsed, calls, tokens, cost, best] = element.children;
  state.firstChild.dataset.state = row.state;
  say(state.firstChild, row.state);
  state.title = row.problem ? visible(row.problem) : "";
  say(program.firstChild, run_name(row));
  const kind = row.is_compile ? `compile · ${count(row.candidates)} candidate${row.candidates === 1 ? "" : "s"}` : "run";
  say(program.lastChild, `${kind} · ${short_id(row.id)}`);
  say(started, ago(row.started_unix_ms));
  started.title = moment(row.started_unix_ms);
  say(elapsed, row.lines ? duration(elapsed_ns(row)) : "–");
  say(calls, `${count(row.totals.calls)}${row.totals.cached_calls ? ` + ${count(row.totals.cached_calls)} cached` : ""}`);
  say(tokens, compact(tokens_of(row.totals)));
  tokens.title = `${count(row.totals.prompt_tokens)} prompt + ${count(row.totals.completion_tokens)} completion tokens`;
  say(cost, price(row.totals));
  say(best, score_text(row.best));
  best.title = row.best ? `${row.best.metric} on the ${row.best.set} set, and its difference to the baseline` : "";
}

function empty_state(folders) {
  return h("section", { class: "empty" },
    h("h2", {}, "No runs yet"),
    h("p", {}, "This page follows the run records in"),
    h("p", {}, folders.map((folder) => h("code", {}, visible(folder)))),
    h("p", {}, "Start one in another terminal, and it appears here while it goes:"),
    h("pre", {}, "assay compile PROGRAM.toml      # search instructions and demos, see candidates arrive\nassay run MODULE -i '{…}'       # one run, as a waterfall"));
}

export function runs_view(root, { set_crumbs, announce }) {
  set_crumbs({ text: "Runs" });
  let data = null;
  let kind = "all";
  let query = "";
  const figures = tiles("Runs", "Running now", "LM calls", "Tokens", "Price");
  const search = h("input", { type: "search", placeholder: "Filter by program, id or state   ( / )", "aria-label": "Filter runs" });
  const kinds = h("div", { class: "segments", role: "group", "aria-label": "Kind" },
    ["all", "compiles", "runs"].map((each) => h("button", { type: "button", "aria-pressed": String(each === kind), "data-kind": each }, each)));
  const body = h("tbody");
  const table = h("table", { class: "runs" }, h("caption", { class: "unseen" }, "Runs and compiles, the newest first"),
    h("thead", {}, h("tr", {}, columns.map((column, i) => h("th", { scope: "col", class: i >= 3 ? "num" : null }, column)))), body);
  const note = h("p", { class: "hint" }, "");
  const list = h("section", { "aria-label": "Runs" }, h("div", { class: "bar" }, kinds, search), h("div", { class: "card scroll" }, table), note);
  const hollow = h("div");
  root.append(h("h1", { class: "unseen" }, "Runs"), figures.element, list, hollow);

  const matches = (row) => (kind === "all" || (kind === "compiles") === row.is_compile)
    && (!query || `${row.program} ${row.id} ${row.file} ${row.state} ${row.compiled_id ?? ""}`.toLowerCase().includes(query));

  function draw() {
    if (!data) return;
    const rows = data.runs;
    list.hidden = figures.element.hidden = rows.length === 0;
    if (rows.length > 0) hollow.replaceChildren();
    else if (!hollow.firstChild) hollow.append(empty_state(data.folders));
    const sum = (of) => rows.reduce((total, row) => total + of(row), 0);
    const compiles = rows.filter((row) => row.is_compile).length;
    const running = rows.filter((row) => row.state === "running").length;
    const broken = rows.filter((row) => row.state === "broken").length;
    figures.set(0, count(rows.length), `${count(compiles)} ${compiles === 1 ? "compile" : "compiles"}${broken ? ` · ${count(broken)} broken` : ""}`, broken ? "bad" : "");
    figures.set(1, count(running), running ? "following" : "idle", running ? "live" : "");
    figures.set(2, compact(sum((row) => row.totals.calls)), `+ ${compact(sum((row) => row.totals.cached_calls))} from the cache`);
    figures.set(3, compact(sum((row) => tokens_of(row.totals))), "prompt + completion");
    const unpriced = sum((row) => row.totals.unpriced_calls);
    figures.set(4, `${compact(sum((row) => row.totals.cost_msats))} msat`, unpriced ? `${compact(unpriced)} calls have no price` : "every call priced");
    const wanted = rows.filter(matches);
    keyed(body, wanted.slice(0, shown_max), (row) => row.id, make_row, update_row);
    const more = wanted.length - Math.min(wanted.length, shown_max) + data.left_out;
    say(note, wanted.length === 0 ? "Nothing matches the filter." : more > 0 ? `${count(more)} older runs are not shown: filter, or use assay show FILE.` : "");
  }

  const refresh = throttled(async () => {
    try {
      data = await get_runs();
      draw();
    } catch (error) {
      say(note, `The list cannot be read: ${error.message}`);
    }
  }, 400);

  kinds.addEventListener("click", (event) => {
    if (!event.target.dataset.kind) return;
    kind = event.target.dataset.kind;
    for (const button of kinds.children) button.setAttribute("aria-pressed", String(button.dataset.kind === kind));
    draw();
  });
  search.addEventListener("input", () => {
    query = search.value.trim().toLowerCase();
    draw();
  });
  const timer = setInterval(draw, 1000);
  refresh();
  return {
    event(name, event) {
      if (name === "run_started") announce(`${event.is_compile ? "Compile" : "Run"} of ${event.program || "a program"} started`);
      if (name === "run_ended") announce("A run ended");
      refresh();
    },
    key(event) {
      if (event.key !== "/") return;
      event.preventDefault();
      search.focus();
    },
    close: () => clearInterval(timer),
  };
}
