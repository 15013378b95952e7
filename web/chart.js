// Candidates and their scores, as they arrive: one mark each with its interval, the best so far as a step, the baseline dashed.

import { h, s, visible } from "./dom.js";
import { count, score } from "./format.js";

const width = 860;
const height = 300;
const edge = { left: 54, right: 20, top: 18, bottom: 40 };

function nice_step(span, parts) {
  const rough = span / parts;
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 2.5, 5, 10].map((m) => m * power).find((step) => step >= rough);
}

function scale_of(points, baseline) {
  const values = points.flatMap((p) => [p.value, p.low ?? p.value, p.high ?? p.value]).concat(baseline === null ? [] : [baseline]);
  let low = Math.min(...values);
  let high = Math.max(...values);
  const shares = low >= 0 && high <= 1;
  const pad = Math.max((high - low) * 0.12, shares ? 0.02 : 1e-9);
  low -= pad;
  high += pad;
  if (shares) [low, high] = [Math.max(0, low), Math.min(1, high)];
  return { low, high, step: nice_step(high - low || 1, 5) };
}

/** points: [{id, value, low, high, n, done, best}] in the order of arrival. `on_pick(id)` when one is chosen. */
export function score_chart({ points, planned, baseline, metric, on_pick }) {
  if (points.length === 0) return h("p", { class: "hint" }, "Candidates appear here when the first one has been scored.");
  const slots = Math.max(points.length, Math.min(planned || 0, 200), 4);
  const y_of = scale_of(points, baseline);
  const x = (i) => edge.left + ((i + 0.5) * (width - edge.left - edge.right)) / slots;
  const y = (value) => edge.top + ((y_of.high - value) * (height - edge.top - edge.bottom)) / (y_of.high - y_of.low);
  const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, class: "chart", role: "group", "aria-label": `${metric} of ${points.length} candidates; the table below has the same figures` });

  for (let value = Math.ceil(y_of.low / y_of.step) * y_of.step; value <= y_of.high + 1e-12; value += y_of.step) {
    svg.append(s("line", { x1: edge.left, x2: width - edge.right, y1: y(value), y2: y(value), class: "grid" }),
      s("text", { x: edge.left - 10, y: y(value) + 4, class: "tick end" }, value.toFixed(y_of.step < 0.1 ? 2 : 1)));
  }
  const every = Math.ceil(slots / 16);
  for (let i = 0; i < slots; i += every) svg.append(s("text", { x: x(i), y: height - edge.bottom + 20, class: "tick middle" }, String(i)));
  svg.append(s("text", { x: (edge.left + width - edge.right) / 2, y: height - 4, class: "tick middle" }, "candidate"));

  if (baseline !== null) {
    svg.append(s("line", { x1: edge.left, x2: width - edge.right, y1: y(baseline), y2: y(baseline), class: "baseline" }),
      s("text", { x: width - edge.right, y: y(baseline) - 6, class: "tick end strong" }, `baseline ${score(baseline)}`));
  }
  let best = -Infinity;
  let path = "";
  points.forEach((point, i) => {
    if (!point.done) return;
    const before = best;
    best = Math.max(best, point.value);
    if (path === "") path = `M${x(i)} ${y(best)}`;
    else path += `L${x(i)} ${y(before)}L${x(i)} ${y(best)}`;
  });
  if (path) svg.append(s("path", { d: path, class: "best-line" }));

  points.forEach((point, i) => {
    const label = `${point.id}: ${metric} ${score(point.value)}${point.low === null ? "" : `, 95 % interval ${score(point.low)} to ${score(point.high)}`}, n = ${count(point.n)}${point.done ? "" : ", still running"}`;
    const mark = s("g", { class: `mark${point.best ? " best" : ""}${point.done ? "" : " open"}`, tabindex: 0, role: "button", "aria-label": visible(label) },
      s("title", {}, visible(label)));
    if (point.low !== null) {
      mark.append(s("line", { x1: x(i), x2: x(i), y1: y(Math.max(point.low, y_of.low)), y2: y(Math.min(point.high, y_of.high)), class: "whisker" }));
    }
    mark.append(s("circle", { cx: x(i), cy: y(point.value), r: 14, class: "target" }), s("circle", { cx: x(i), cy: y(point.value), r: point.best ? 7 : 5, class: "dot" }));
    mark.addEventListener("click", () => on_pick(point.id));
    mark.addEventListener("keydown", (event) => event.key === "Enter" && on_pick(point.id));
    svg.append(mark);
  });
  return svg;
}
