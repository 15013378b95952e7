// Numbers with their units.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const group = (n) => whole.format(n);

export const count = (n) => group(n ?? 0);

/** 1234567 → "1.23 M"; small ones in full. */
export function compact(n) {
  if (n < 10_000) return group(n);
  if (n < 1_000_000) return `${(n / 1000).toFixed(n < 100_000 ? 1 : 0)} k`;
  return `${(n / 1_000_000).toFixed(2)} M`;
}

export function duration(ns) {
  const ms = ns / 1e6;
  if (ms < 0.001) return `${Math.round(ns)} ns`;
  if (ms < 1) return `${(ms * 1000).toFixed(ms < 0.01 ? 1 : 0)} µs`;
  if (ms < 100) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

export function ago(unix_ms) {
  if (!unix_ms) return "–";
  const seconds = Math.max(0, (Date.now() - unix_ms) / 1000);
  if (seconds < 5) return "just now";
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return new Date(unix_ms).toISOString().slice(0, 10);
}

/** "2026-11-25 18:15:53" in the reader's time zone. */
export function moment(unix_ms) {
  if (!unix_ms) return "unknown";
  const at = new Date(unix_ms);
  const two = (n) => String(n).padStart(2, "0");
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** Price of totals. A lane without a price is never 0. */
export function price(totals) {
  if (!totals) return "–";
  const { cost_msats, unpriced_calls, calls } = totals;
  if (unpriced_calls > 0 && unpriced_calls >= calls) return "unpriced";
  return `${group(cost_msats)} msat${unpriced_calls > 0 ? ` + ${group(unpriced_calls)} unpriced` : ""}`;
}

/// Where a run's price comes from.
export function price_source(run) {
  if (run.totals.unpriced_calls) return "lanes without a price";
  if (!run.paid_msats) return "by the price book";
  return run.paid_msats >= run.totals.cost_msats ? "paid on the market" : `${group(run.paid_msats)} msat paid, the rest by the price book`;
}

export const call_price = (msats) => (msats === null || msats === undefined ? "unpriced" : `${group(msats)} msat`);

export const tokens_of = (totals) => (totals?.prompt_tokens ?? 0) + (totals?.completion_tokens ?? 0);

/** "0.813": scores keep three digits. */
export const score = (x) => (x === null || x === undefined ? "–" : x.toFixed(3));
export const signed_score = (x) => `${x > 0 ? "+" : x < 0 ? "−" : "±"}${Math.abs(x).toFixed(3)}`;

/** 95 % Wilson interval of a share. */
export function wilson(share, n) {
  if (!n) return null;
  const z = 1.959963984540054;
  const d = 1 + (z * z) / n;
  const middle = (share + (z * z) / (2 * n)) / d;
  const half = (z * Math.sqrt((share * (1 - share)) / n + (z * z) / (4 * n * n))) / d;
  return { low: Math.max(0, middle - half), high: Math.min(1, middle + half) };
}
