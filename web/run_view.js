// One run: its header, and either the compile's overview or the waterfall with the details of what is chosen.

import { get_node, get_run, get_summary } from "./api.js";
import { compile_overview } from "./compile_view.js";
import { h, id_chip, say, short_id, throttled, visible } from "./dom.js";
import { compact, count, duration, moment, price, price_source, tokens_of } from "./format.js";
import { node_panel } from "./node_panel.js";
import { badge, elapsed_ns, run_name, tiles } from "./runs_view.js";
import { waterfall } from "./waterfall.js";

const trace_href = (id, path) => `#/run/${encodeURIComponent(id)}/trace${path ? `/${path.split("/").map(encodeURIComponent).join("/")}` : ""}`;

function trouble_of(run) {
  if (run.problem) return `This record is broken, and nothing after the bad line can be believed. ${visible(run.problem)}`;
  const next = run.is_compile ? " It can go on from here with assay compile --resume." : "";
  if (run.last_error && run.state !== "running") return `It stopped: ${visible(run.last_error)}.${next}`;
  if (run.also?.length) return `Other records here have the same run id: ${run.also.map(visible).join(", ")}. Copies are harmless; if they differ, assay verify and the signer tell which to believe.`;
  return run.state === "interrupted" ? `Interrupted: no process writes this record any more, and it has no end.${next}` : "";
}

function header_of(run) {
  const state = badge(run.state);
  const title = h("h1", {}, run_name(run), state);
  const ids = h("p", { class: "ids" }, "run ", id_chip(run.id, "run id"), run.compiled_id ? [" compiled ", id_chip(run.compiled_id, "compiled_id")] : null,
    h("span", { class: "hint" }, ` ${run.is_compile ? "compile" : "run"} started ${moment(run.started_unix_ms)}${run.file ? ` · ${visible(run.file)}` : ""}`));
  const problem = h("p", { class: "problem", role: "alert", hidden: true }, "");
  return {
    element: h("header", { class: "run-head" }, title, ids, problem),
    draw(now) {
      state.dataset.state = now.state;
      say(state, now.state);
      const text = trouble_of(now);
      problem.dataset.tone = now.problem ? "bad" : "warn";
      problem.hidden = !text;
      say(problem, text);
    },
  };
}

function record_words(record) {
  if (!record) return ["–", ""];
  if (record.state === "broken") return ["broken", record.problems[0] ? `line ${record.problems[0].line}: ${visible(record.problems[0].message)}` : ""];
  const words = record.signed ? `signed by ${short_id(record.signer)}` : record.state === "complete" ? "not signed" : "not ended yet";
  return ["intact", `${count(record.lines)} lines · ${words}`];
}

/** The waterfall's half of the page. */
function trace_part(at, announce) {
  const figures = tiles("Elapsed", "Nodes", "LM calls", "Tokens", "Price", "Record");
  const place = h("p", { class: "hint" }, at.under ? ["Only ", h("code", {}, visible(at.under)), " · ", h("a", { href: trace_href(at.id, "") }, "show the whole run")] : "");
  const side = h("aside", { class: "details", "aria-label": "Details" });
  let wanted = 0;
  let began = false;
  const close = () => {
    side.replaceChildren();
    side.hidden = true;
    grid.unselect();
    grid.focus_selected();
  };
  const show_node = async (row) => {
    const number = ++wanted;
    try {
      const node = await get_node(at.id, row.path);
      if (number !== wanted) return;
      side.replaceChildren(node_panel(node, close));
      side.hidden = false;
    } catch (error) {
      side.replaceChildren(h("p", { class: "problem" }, error.message));
    }
  };
  const grid = waterfall({ href: (path) => trace_href(at.id, path), on_select: show_node, on_leave: close });
  side.hidden = true;
  return {
    element: h("div", {}, figures.element, place, h("div", { class: "columns trace" }, h("div", {}, grid.element), side)),
    async load() {
      const data = await get_run(at.id, at.under);
      grid.set({ ...data.graph, under: at.under });
      const { run, record } = data;
      figures.set(0, duration(elapsed_ns(run)), run.state, run.state === "running" ? "live" : "");
      figures.set(1, compact(run.nodes), run.errors ? `${count(run.errors)} ended as an error` : "no errors", run.errors ? "bad" : "");
      figures.set(2, compact(run.totals.calls), `+ ${compact(run.totals.cached_calls)} from the cache${run.repairs ? ` · ${count(run.repairs)} repairs` : ""}`);
      figures.set(3, compact(tokens_of(run.totals)), `${compact(run.totals.prompt_tokens)} in · ${compact(run.totals.completion_tokens)} out`);
      figures.set(4, price(run.totals), price_source(run));
      const [word, more] = record_words(record);
      figures.set(5, word, more, word === "broken" ? "bad" : record?.signed ? "good" : "");
      if (!began && grid.first() && run.state !== "running" && innerWidth > 1100) grid.select(grid.first());
      began = began || !!grid.first();
      announce(`${count(run.nodes)} nodes`);
      return data;
    },
    draw() {},
    event() {},
    key(event) {
      if (event.key === "Escape" && !side.hidden) close();
    },
  };
}

function overview_part(at) {
  const overview = compile_overview(at.id);
  let data = null;
  return {
    element: overview.element,
    async load() {
      data = await get_summary(at.id);
      if (data.compile) overview.draw(data);
      return data;
    },
    draw: () => data?.compile && overview.draw(data),
    event: (name, event) => overview.event(name, event),
  };
}

export function run_view(root, at, { set_crumbs, announce }) {
  set_crumbs({ text: "Runs", href: "#/" }, { text: short_id(at.id) });
  const hollow = h("p", { class: "hint" }, "Reading the record …");
  root.append(hollow);
  let part = null;
  let head = null;
  let running = true;
  let gone = false;

  function begin(data) {
    const { run, compile } = data;
    hollow.remove();
    head = header_of(run);
    const is_trace = !compile || at.tab === "trace";
    part = is_trace ? trace_part(at, announce) : overview_part(at);
    const base = `#/run/${encodeURIComponent(at.id)}`;
    const tabs = compile ? h("nav", { class: "tabs", "aria-label": "Views of this compile" },
      h("a", { href: base, "aria-current": is_trace ? null : "page" }, "Search"), h("a", { href: trace_href(at.id, ""), "aria-current": is_trace ? "page" : null }, "Trace")) : null;
    set_crumbs({ text: "Runs", href: "#/" }, { text: run_name(run), href: at.under ? base : undefined }, ...(at.under ? [{ text: visible(at.under) }] : []));
    root.append(head.element, tabs ?? "", part.element);
  }

  const refresh = throttled(async () => {
    try {
      if (!part) begin(await get_summary(at.id));
      if (gone) return;
      const data = await part.load();
      running = data.run.state === "running";
      head.draw(data.run);
    } catch (error) {
      if (!hollow.isConnected) return;
      hollow.className = "problem";
      say(hollow, `${error.message}. ${error.remedy ?? ""}`);
    }
  }, at.tab === "trace" ? 1000 : 500);

  const timer = setInterval(() => running && part?.draw(), 1000);
  refresh();
  return {
    event(name, event) {
      if (event.run_id && event.run_id !== at.id) return;
      part?.event(name, event);
      if (name === "run_ended") announce("The run has ended");
      refresh();
    },
    key: (event) => part?.key?.(event),
    close() {
      gone = true;
      clearInterval(timer);
    },
  };
}
