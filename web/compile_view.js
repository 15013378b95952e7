// A compile, live: what it has found, what it has spent, how far it is.

import { score_chart } from "./chart.js";
import { h, id_chip, keyed, say, visible } from "./dom.js";
import { compact, count, duration, price, price_source, score, signed_score, tokens_of, wilson } from "./format.js";
import { elapsed_ns, tiles } from "./runs_view.js";

const activity_max = 8;

const decision = (compile, what) => compile.decisions.findLast((each) => each.data.what === what)?.data.value;

const interval_text = (interval) => (interval ? `${score(interval.low)} – ${score(interval.high)} (95 %)` : "");

const add_totals = (a, b) => Object.fromEntries(Object.keys(b).map((key) => [key, (a?.[key] ?? 0) + b[key]]));

/** Candidates with their costs: finished ones from their lines, the one that runs from its scores so far. */
function candidates_of(compile) {
  const all = new Map();
  const at = (id) => {
    if (!all.has(id)) all.set(id, { id, done: false, n: 0, value: null, totals: null, first_ns: Infinity, last_ns: 0, compiled_id: null, shares: false });
    return all.get(id);
  };
  for (const stage of compile.stages) {
    if (!stage.candidate) continue;
    const one = at(`cand:${stage.candidate}`);
    one.totals = add_totals(one.totals, stage.totals);
    one.first_ns = Math.min(one.first_ns, stage.first_ns);
    one.last_ns = Math.max(one.last_ns, stage.last_ns);
    if (stage.path.endsWith("/bootstrap") || stage.scored === 0) continue;
    one.n = stage.scored;
    one.value = stage.mean;
    one.shares = stage.shares;
  }
  compile.candidates.forEach((line) => {
    const one = at(line.id);
    one.done = true;
    one.compiled_id = line.compiled_id;
    one.value = line.metrics[compile.metric] ?? Object.values(line.metrics)[0] ?? one.value;
    one.metrics = line.metrics;
  });
  const number = (one) => Number(one.id.split(":")[1] ?? Infinity);
  return [...all.values()].sort((a, b) => number(a) - number(b) || a.first_ns - b.first_ns);
}

// Scores done and to do, as far as the plan says.
function progress_of(compile) {
  const val = Math.min(compile.val_rows || Infinity, compile.rows.val ?? Infinity);
  const to_do = Number.isFinite(val) && compile.candidates_planned ? val * compile.candidates_planned + 2 * (compile.rows.test ?? 0) : 0;
  const done = compile.stages.reduce((sum, stage) => sum + (stage.path.endsWith("/bootstrap") ? 0 : stage.scored), 0);
  return { done, to_do: Math.max(to_do, to_do ? done : 0) };
}

function candidate_row() {
  const cells = Array.from({ length: 8 }, (_, i) => h(i === 0 ? "th" : "td", { class: i >= 1 ? "num" : null, scope: i === 0 ? "row" : null }));
  cells[0].append(h("a", {}, ""), h("span", { class: "tag" }, ""));
  return h("tr", {}, cells);
}

function update_candidate(element, { one, baseline, href }) {
  const [name, value, gain, range, n, calls, tokens, cost] = element.children;
  name.firstChild.href = href;
  say(name.firstChild, visible(one.id));
  say(name.lastChild, one.best ? "best" : !one.done ? "running" : one.id === "cand:0" ? "baseline" : "");
  element.dataset.tone = one.best ? "best" : one.done ? "" : "live";
  say(value, score(one.value));
  say(gain, baseline === null || one.value === null || one.id === "cand:0" ? "" : signed_score(one.value - baseline));
  gain.dataset.tone = baseline !== null && one.value > baseline ? "good" : "";
  say(range, one.low === null ? "" : `${score(one.low)} – ${score(one.high)}`);
  say(n, count(one.n));
  say(calls, one.totals ? `${count(one.totals.calls)}${one.totals.cached_calls ? ` + ${count(one.totals.cached_calls)} cached` : ""}` : "–");
  say(tokens, one.totals ? compact(tokens_of(one.totals)) : "–");
  say(cost, price(one.totals));
}

export function compile_overview(id) {
  const figures = tiles("Score", "Baseline", "Gain", "LM calls", "Tokens", "Price", "Elapsed");
  const bar = h("progress", { "aria-label": "Progress of the compile" });
  const bar_text = h("span", { class: "hint" }, "");
  const progress = h("div", { class: "progress" }, bar, bar_text);
  const chart = h("div", { class: "card pad" });
  const chart_title = h("h2", {}, "Candidates");
  const body = h("tbody");
  const table = h("table", {}, h("caption", { class: "unseen" }, "Candidates with score and cost"), h("thead", {}, h("tr", {},
    ["Candidate", "Score", "vs baseline", "95 % interval", "n", "LM calls", "Tokens", "Price"].map((column, i) => h("th", { scope: "col", class: i >= 1 ? "num" : null }, column)))), body);
  const activity = h("ol", { class: "activity mono", "aria-label": "Newest answers" });
  const activity_box = h("section", {}, h("h2", {}, "Newest answers"), h("div", { class: "card pad" }, activity));
  const facts = h("dl", { class: "facts" });
  const side = h("aside", {}, activity_box, h("section", {}, h("h2", {}, "Plan"), h("div", { class: "card pad" }, facts)));
  const element = h("div", {}, figures.element, progress,
    h("div", { class: "columns" }, h("div", {}, chart_title, chart, h("div", { class: "card scroll" }, table)), side));
  const answers = [];
  let drawn = "";

  function draw_figures(run, compile, card) {
    const best = run.best;
    const where = best?.set === "test" ? "test set" : "validation set, so far";
    figures.set(0, score(best?.score), card ? interval_text(card.interval) : best ? where : "no score yet", "accent");
    figures.set(1, score(best?.baseline), card?.baseline ? interval_text(card.baseline.interval) : best ? where : "");
    const gain = card?.gain ?? (best && best.baseline !== null ? best.score - best.baseline : null);
    figures.set(2, gain === null ? "–" : signed_score(gain), card ? interval_text(card.gain_interval) : "not a test result yet", gain > 0 ? "good" : "");
    figures.set(3, compact(run.totals.calls), `+ ${compact(run.totals.cached_calls)} from the cache`);
    figures.set(4, compact(tokens_of(run.totals)), `${compact(run.totals.prompt_tokens)} in · ${compact(run.totals.completion_tokens)} out`);
    figures.set(5, price(run.totals), price_source(run));
    figures.set(6, duration(elapsed_ns(run)), run.state, run.state === "running" ? "live" : run.state === "complete" ? "" : "bad");
  }

  function draw_progress(run, compile) {
    const { done, to_do } = progress_of(compile);
    progress.hidden = !to_do || run.state === "complete";
    if (progress.hidden) return;
    bar.max = to_do;
    bar.value = done;
    const left_ns = done > 20 ? (elapsed_ns(run) / done) * (to_do - done) : null;
    say(bar_text, `${count(done)} of ${count(to_do)} rows scored${left_ns !== null && run.state === "running" && to_do > done ? ` · about ${duration(left_ns)} left` : ""}`);
  }

  function draw_facts(run, compile) {
    const rows = Object.entries(compile.rows).map(([set, n]) => `${count(n)} ${set}`).join(" · ");
    const final_id = decision(compile, "compiled_id");
    const promoted = decision(compile, "promoted");
    const test = compile.stages.filter((stage) => stage.path.startsWith("test/") && stage.scored > 0)
      .map((stage) => `${stage.path.slice(5)} ${score(stage.mean)} (n = ${count(stage.scored)})`).join(" · ");
    const items = [["Optimizer", compile.optimizer ?? "–"], ["Metric", compile.metric ?? "–"], ["Rows", rows || "–"], test ? ["Test set", test] : null, ["Model", run.models.join(", ") || "–"],
      ["Seed", String(run.seed)], ["Privacy", run.privacy_mode], promoted === undefined ? null : ["Promoted", promoted ? "yes: the gain's interval lies above zero" : "no: the gain is within noise"]].filter(Boolean);
    const breakable = (text) => text.split(/(?<=[a-z])(?=[A-Z])/).flatMap((part, i) => (i ? [h("wbr"), part] : [part]));
    facts.replaceChildren(...items.flatMap(([term, value]) => [h("dt", {}, term), h("dd", {}, breakable(visible(value)))]));
    if (typeof final_id === "string") facts.append(h("dt", {}, "compiled_id"), h("dd", {}, id_chip(final_id, "compiled_id")));
  }

  return {
    element,
    draw({ run, compile }) {
      const card = decision(compile, "scorecard");
      draw_figures(run, compile, card);
      draw_progress(run, compile);
      activity_box.hidden = answers.length === 0;
      const key = JSON.stringify(compile);
      if (key === drawn) return;
      drawn = key;
      draw_facts(run, compile);
      const all = candidates_of(compile);
      const chosen = decision(compile, "best") ?? all.filter((one) => one.done).reduce((a, b) => (a && a.value >= b.value ? a : b), null)?.id;
      const first = all.find((one) => one.id === "cand:0");
      const baseline = first?.done ? first.value : null;
      for (const one of all) {
        const range = one.shares && one.value !== null ? wilson(one.value, one.n) : null;
        Object.assign(one, { best: one.id === chosen, low: range?.low ?? null, high: range?.high ?? null });
      }
      const href = (which) => `#/run/${encodeURIComponent(id)}/trace/search/${encodeURIComponent(which)}`;
      say(chart_title, `Candidates on the validation set${compile.metric ? ` · ${compile.metric}` : ""}`);
      chart.replaceChildren(score_chart({ points: all.filter((one) => one.value !== null), planned: compile.candidates_planned, baseline,
        metric: compile.metric ?? "score", on_pick: (which) => { location.hash = href(which); } }));
      keyed(body, all.map((one) => ({ one, baseline, href: href(one.id) })), (item) => item.one.id, candidate_row, update_candidate);
    },
    event(name, data) {
      if (name !== "lm_end") return;
      const where = (data.path ?? "").split("/").filter((part) => part.startsWith("cand:") || part.startsWith("ex:") || part === "baseline" || part === "compiled");
      answers.unshift({ key: `${data.t_ns}-${data.path}`, place: where.map((part) => part.slice(0, 11)).join(" "), answer: data.answer ?? "", cached: data.cached, data });
      answers.length = Math.min(answers.length, activity_max);
      activity_box.hidden = false;
      keyed(activity, answers, (each) => each.key, (each) => h("li", {}, h("span", { class: "where" }, visible(each.place)), h("span", { class: "answer" }, visible(each.answer) || "(empty)"),
        h("span", { class: "cost" }, each.cached ? "cached" : duration(each.data.latency_ns ?? 0))));
    },
  };
}
