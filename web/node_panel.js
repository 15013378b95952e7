// One node in full: what went in and out, each LM call with its messages, answer, usage, price and lane.

import { h, id_chip, visible } from "./dom.js";
import { call_price, count, duration } from "./format.js";

const text_of = (value) => visible(typeof value === "string" ? value : JSON.stringify(value, null, 2));

function fields(title, values) {
  if (values === null || values === undefined) return null;
  const entries = typeof values === "object" && !Array.isArray(values) ? Object.entries(values) : [["", values]];
  return h("section", {}, h("h3", {}, title),
    h("dl", { class: "fields" }, entries.flatMap(([key, value]) => [h("dt", { class: "mono" }, visible(key)), h("dd", { class: "text" }, text_of(value))])));
}

function message(role, content, extra = "") {
  const parts = Array.isArray(content) ? content.map((part) => (typeof part?.text === "string" ? part.text : JSON.stringify(part))).join("\n") : content;
  return h("article", { class: "message", "data-role": role }, h("h4", {}, visible(role), extra ? h("span", {}, extra) : null), h("pre", { class: "text" }, text_of(parts ?? "")));
}

function figure(term, value, hint) {
  return [h("dt", { title: hint }, term), h("dd", {}, value)];
}

function call_section(call, number, many) {
  const usage = call.usage;
  const more = Object.entries(usage).filter(([key]) => key !== "prompt_tokens" && key !== "completion_tokens");
  return h("section", { class: "call" },
    h("h3", {}, many ? `LM call ${number + 1}` : "LM call", call.cached ? h("span", { class: "tag" }, "from the cache") : null),
    h("dl", { class: "facts two" },
      figure("Model", visible(call.model || "–")),
      figure("Lane", visible(call.lane_kind || "–"), call.lane_id),
      figure("Prompt", `${count(usage.prompt_tokens)} tokens`),
      figure("Answer", `${count(usage.completion_tokens)} tokens`),
      figure("Price", call.cached ? "0 msat (cached)" : call_price(call.cost_msats), "by the run's price book"),
      figure("Took", call.cached ? "–" : duration(call.end_ns - call.start_ns), `measured by the lane: ${duration(call.latency_ns)}`),
      figure("Finish", call.answered ? visible(call.finish_reason || "–") : "no answer recorded"),
      figure("Seed", call.seed === null ? "none" : String(call.seed)),
      more.flatMap(([key, value]) => figure(visible(key), text_of(value)))),
    (call.messages ?? []).map((each) => message(each.role, each.content)),
    call.answered ? message("answer", call.content, call.finish_reason === "length" ? "cut at max_tokens" : "") : h("p", { class: "hint" }, "No answer was recorded for this request."),
    h("details", {}, h("summary", {}, "Request settings"),
      h("pre", { class: "text" }, text_of({ config: call.config, schema: call.schema })),
      h("p", {}, "request_hash ", id_chip(call.request_hash, "request hash"), "  lane_id ", id_chip(call.lane_id, "lane id"))));
}

export function node_panel(node, on_close) {
  const close = h("button", { class: "quiet", type: "button", title: "Close details (Escape)", onclick: on_close }, "Close ✕");
  const events = node.events ?? [];
  return h("div", { class: "panel card" },
    h("header", {}, h("div", {}, h("p", { class: "over" }, `${node.kind}${node.name ? ` · ${visible(node.name)}` : ""}`), h("h2", { class: "mono" }, visible(node.path || "run"))), close),
    h("p", { class: "sum" }, h("span", { class: "badge", "data-state": node.status === "ok" ? "complete" : node.status === "open" ? "running" : "broken" }, node.status),
      ` started at ${duration(node.start_ns)}, took ${duration(node.end_ns - node.start_ns)}`),
    node.error ? h("p", { class: "problem" }, `${visible(node.error.code)}: ${visible(node.error.message)}${node.error.path ? ` (at ${visible(node.error.path)})` : ""}`) : null,
    fields("Inputs", node.input_values),
    fields("Outputs", node.output_values),
    node.calls.map((call, i) => call_section(call, i, node.calls.length > 1)),
    events.length ? h("section", {}, h("h3", {}, "Also recorded"), events.map((event) => h("details", {}, h("summary", {}, `${visible(event.type)} at ${duration(event.t_ns)}`), h("pre", { class: "text" }, text_of(event.data))))) : null);
}
