// Nodes and LM calls of a run on one time axis: a tree on the left, bars on the right.

import { h, keyed, say, visible } from "./dom.js";
import { call_price, compact, duration } from "./format.js";

const rows_max = 3000;
const open_rows_max = 250;  // a larger tree begins with its groups closed

/** A tree from paths: `a/b/c` lies under `a/b`, whether or not `a/b` was a node of its own. */
export function tree_of(nodes, under) {
  const root = { path: under, label: under, node: null, children: new Map(), calls: [] };
  for (const node of nodes) {
    if (node.kind === "Root") continue;
    const rest = under && node.path.startsWith(under) ? node.path.slice(under.length + 1) : node.path;
    let at = root;
    for (const segment of rest === "" ? [] : rest.split("/")) {
      const path = at.path ? `${at.path}/${segment}` : segment;
      if (!at.children.has(segment)) at.children.set(segment, { path, label: segment, node: null, children: new Map() });
      at = at.children.get(segment);
    }
    at.node = node;
  }
  return root;
}

// A group with a single child and no node of its own says nothing: both become one row.
function shorten(branch) {
  const children = [...branch.children.values()].map(shorten);
  if (!branch.node && children.length === 1 && branch.label) return { ...children[0], label: `${branch.label}/${children[0].label}` };
  return { ...branch, children };
}

const sums = (parts) => parts.reduce((a, b) => ({ start: Math.min(a.start, b.start), end: Math.max(a.end, b.end), tokens: a.tokens + b.tokens, cost: a.cost + b.cost,
  unpriced: a.unpriced + b.unpriced, calls: a.calls + b.calls, errors: a.errors + b.errors }), { start: Infinity, end: -Infinity, tokens: 0, cost: 0, unpriced: 0, calls: 0, errors: 0 });

const call_tokens = (call) => (call.usage.prompt_tokens ?? 0) + (call.usage.completion_tokens ?? 0);

// Own figures and those of everything below, once.
function measure(branch) {
  const own = branch.node ? [{ start: branch.node.start_ns, end: branch.node.end_ns, tokens: 0, cost: 0, unpriced: 0, calls: 0, errors: branch.node.status === "error" ? 1 : 0 }] : [];
  for (const call of branch.node?.calls ?? []) {
    const made = !call.cached;
    own.push({ start: call.start_ns, end: call.end_ns, tokens: made ? call_tokens(call) : 0, cost: made ? call.cost_msats ?? 0 : 0,
      unpriced: made && call.cost_msats === null ? 1 : 0, calls: made ? 1 : 0, errors: 0 });
  }
  branch.sum = sums([...own, ...branch.children.map(measure)]);
  return branch.sum;
}

/** Rows in the order of the screen; `closed(path, depth)` says which show nothing below them. */
function rows_of(branch, closed, depth = 0, out = []) {
  for (const child of branch.children.sort((a, b) => a.sum.start - b.sum.start)) {
    const calls = child.node?.calls ?? [];
    const inner = child.children.length + calls.length;
    out.push({ key: child.path, path: child.path, label: child.label, depth, branch: child, node: child.node, inner, closed: inner > 0 && closed(child.path, depth), kind: child.node?.kind ?? "Group" });
    if (inner === 0 || closed(child.path, depth)) continue;
    for (const call of calls) {
      out.push({ key: `${child.path}#${call.index}#${call.start_ns}`, path: child.path, label: call.model || "LM call", depth: depth + 1, node: child.node, call, inner: 0, kind: "Call" });
    }
    rows_of(child, closed, depth + 1, out);
  }
  return out;
}

function count_rows(branch, depth = 0, counts = []) {
  for (const child of branch.children) {
    counts[depth] = (counts[depth] ?? 0) + 1;
    const calls = child.node?.calls.length ?? 0;
    if (calls) counts[depth + 1] = (counts[depth + 1] ?? 0) + calls;
    count_rows(child, depth + 1, counts);
  }
  return counts;
}

// How deep a tree can be open with no more rows than a reader takes in.
function open_depth(branch) {
  let total = 0;
  return count_rows(branch).findIndex((rows) => (total += rows) > open_rows_max);
}

function ticks(span) {
  const rough = span / 6;
  const power = 10 ** Math.floor(Math.log10(rough || 1));
  const step = [1, 2, 5, 10].map((m) => m * power).find((each) => each >= rough) ?? rough;
  const out = [];
  for (let at = 0; at <= span * 0.98; at += step) out.push(at);
  return out;
}

const letters = { Predict: "P", Operator: "O", Map: "M", Group: "", Call: "LM" };

function make_row() {
  return h("div", { role: "row", class: "row", tabindex: -1 },
    h("span", { role: "gridcell", class: "name" }, h("span", { class: "twist", "aria-hidden": "true" }), h("span", { class: "kind" }), h("span", { class: "label mono" }), h("a", { class: "zoom", title: "Show only this" }, "⤢")),
    h("span", { role: "gridcell", class: "num tokens" }),
    h("span", { role: "gridcell", class: "num cost" }),
    h("span", { role: "gridcell", class: "num took" }),
    h("span", { role: "gridcell", class: "time" }, h("span", { class: "bar" })));
}

function update_row(element, row, frame) {
  const [name, tokens, cost, took, time] = element.children;
  const [twist, kind, label, zoom] = name.children;
  const sum = row.call ? { start: row.call.start_ns, end: row.call.end_ns } : row.branch.sum;
  const status = row.call ? (row.call.answered ? "ok" : "open") : row.node?.status ?? (row.branch.sum.errors ? "error" : "ok");
  element.dataset.kind = row.kind;
  element.dataset.status = status;
  element.dataset.cached = row.call?.cached ? "yes" : "no";
  element.setAttribute("aria-level", row.depth + 1);
  if (row.inner > 0) element.setAttribute("aria-expanded", String(!row.closed));
  else element.removeAttribute("aria-expanded");
  element.setAttribute("aria-selected", String(row.key === frame.selected));
  name.style.setProperty("--depth", row.depth);
  say(twist, row.inner > 0 ? (row.closed ? "▸" : "▾") : "");
  say(kind, letters[row.kind] ?? "");
  kind.hidden = row.kind === "Group";
  kind.title = row.kind === "Call" ? "LM call" : row.kind;
  say(label, visible(row.label).replace(/(^|\/)ex:([0-9a-f]{8})[0-9a-f]{8}/g, "$1ex:$2…") + (row.call?.cached ? "  (cached)" : status === "error" && row.node && !row.call ? "  ✕ error" : status === "open" && row.node ? "  … open" : ""));
  label.title = visible(row.path);
  zoom.hidden = row.kind !== "Group";
  zoom.href = row.kind === "Group" ? frame.href(row.path) : "#";
  say(tokens, row.call ? (row.call.cached ? "–" : `${compact(call_tokens(row.call))} tok`) : row.branch.sum.calls ? `${compact(row.branch.sum.tokens)} tok` : "");
  say(cost, row.call ? (row.call.cached ? "–" : call_price(row.call.cost_msats)) : row.branch.sum.calls ? (row.branch.sum.unpriced === row.branch.sum.calls ? "unpriced" : call_price(row.branch.sum.cost)) : "");
  say(took, duration(Math.max(0, sum.end - sum.start)));
  const bar = time.firstChild;
  bar.style.left = `${((sum.start - frame.start) / frame.span) * 100}%`;
  bar.style.width = `max(2px, ${((sum.end - sum.start) / frame.span) * 100}%)`;
}

export function waterfall({ href, on_select, on_leave }) {
  const closed = new Map();  // path → what the reader chose
  let depth_max = -1;
  let rows = [];
  let data = null;
  let selected = null;
  const axis = h("div", { class: "axis", "aria-hidden": "true" });
  const head = h("div", { role: "row", class: "row head" }, ["Node", "Tokens", "Price", "Took"].map((text, i) => h("span", { role: "columnheader", class: i ? "num" : "name" }, text)),
    h("span", { role: "columnheader", class: "time" }, h("span", { class: "unseen" }, "Time"), axis));
  const body = h("div", { role: "rowgroup" });
  const element = h("div", { role: "treegrid", class: "waterfall card", "aria-label": "Nodes and LM calls on a time axis" }, h("div", { role: "rowgroup" }, head), body);
  const note = h("p", { class: "hint" }, "");

  const is_closed = (path, depth) => closed.get(path) ?? (depth_max >= 0 && depth >= Math.max(0, depth_max - 1));

  function draw() {
    if (!data) return;
    const top = { ...shorten({ ...tree_of(data.nodes, data.under), label: "" }), label: "" };
    const sum = measure(top);
    depth_max = open_depth(top);
    rows = rows_of(top, is_closed);
    const frame = { start: sum.start, span: Math.max(1, sum.end - sum.start), selected, href };
    const cut = rows.slice(0, rows_max);
    axis.replaceChildren(...(rows.length ? ticks(frame.span) : []).map((at) => {
      const tick = h("span", {}, duration(at).replace("0 ns", "0"));
      tick.style.left = `${(at / frame.span) * 100}%`;
      return tick;
    }));
    keyed(body, cut, (row) => row.key, make_row, (row_element, row) => update_row(row_element, row, frame));
    const current = body.querySelector('[tabindex="0"]');
    if (!current && body.firstElementChild) body.firstElementChild.tabIndex = 0;
    element.hidden = rows.length === 0;
    const hidden = data.left_out + rows.length - cut.length;
    say(note, rows.length === 0 ? "No node has started yet." : hidden > 0 ? `${hidden} more rows are not shown: open a part of the tree with ⤢.` : "");
  }

  const row_at = (target) => rows.find((row) => row.key === target.closest?.(".row[data-key]")?.dataset.key);
  const element_of = (row) => [...body.children].find((child) => child.dataset.key === row.key);

  function focus(row) {
    for (const child of body.querySelectorAll('[tabindex="0"]')) child.tabIndex = -1;
    const target = row && element_of(row);
    if (!target) return;
    target.tabIndex = 0;
    target.focus();
  }
  function toggle(row, to) {
    closed.set(row.path, to);
    draw();
  }
  function select(row) {
    selected = row.key;
    draw();
    on_select(row);
  }

  body.addEventListener("click", (event) => {
    const row = row_at(event.target);
    if (!row || event.target.closest("a")) return;
    focus(row);
    if (row.node && !event.target.closest(".twist")) select(row);
    else if (row.inner > 0) toggle(row, !row.closed);
  });
  body.addEventListener("keydown", (event) => {
    const row = row_at(event.target);
    const at = rows.indexOf(row);
    if (at < 0) return;
    const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }[event.key];
    if (step) focus(rows[at + step]);
    else if (event.key === "Home") focus(rows[0]);
    else if (event.key === "End") focus(rows.at(-1));
    else if (event.key === "ArrowRight" && row.inner > 0) row.closed ? toggle(row, false) : focus(rows[at + 1]);
    else if (event.key === "ArrowLeft" && row.inner > 0 && !row.closed) toggle(row, true);
    else if (event.key === "ArrowLeft") focus(rows.slice(0, at).findLast((each) => each.depth < row.depth));
    else if (event.key === "Enter" || event.key === " ") row.node ? select(row) : toggle(row, !row.closed);
    else if (event.key === "Escape") on_leave();
    else return;
    event.preventDefault();
  });

  return {
    element: h("div", {}, element, note),
    set(next) {
      data = next;
      draw();
    },
    unselect() {
      selected = null;
      draw();
    },
    focus_selected() {
      focus(rows.find((row) => row.key === selected) ?? rows[0]);
    },
    /** The first node with an LM call, for a page that would begin with an empty panel. */
    first: () => rows.find((row) => row.call) ?? rows.find((row) => row.node),
    select,
  };
}
