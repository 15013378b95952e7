// The server's JSON and its event stream.

export async function fetch_json(path) {
  const answer = await fetch(path, { headers: { accept: "application/json" } });
  const body = await answer.json().catch(() => null);
  if (!answer.ok) {
    const error = new Error(body?.error?.message ?? `the server answered ${answer.status}`);
    error.status = answer.status;
    error.remedy = body?.error?.remedy ?? "";
    throw error;
  }
  return body;
}

export const get_runs = () => fetch_json("/api/runs");
export const get_summary = (id) => fetch_json(`/api/runs/${encodeURIComponent(id)}?graph=0`);
export const get_run = (id, under) => fetch_json(`/api/runs/${encodeURIComponent(id)}?under=${encodeURIComponent(under ?? "")}`);
export const get_node = (id, path) => fetch_json(`/api/runs/${encodeURIComponent(id)}/node?path=${encodeURIComponent(path)}`);

const event_names = ["hello", "gap", "runs_loaded", "run_started", "node_start", "node_end", "lm_start", "lm_end", "candidate", "score",
  "decision", "note", "run_ended", "run_state", "run_broken", "run_removed"];

/** Opens the stream, and opens it again whenever it ends. `on_event(name, data)`, `on_state("live" | "waiting")`. */
export function open_stream(on_event, on_state) {
  const source = new EventSource("/hud/stream");
  source.addEventListener("open", () => on_state("live"));
  source.addEventListener("error", () => {
    on_state("waiting");
    // The browser itself tries again after a lost connection, but not after an answer such as "too many viewers".
    if (source.readyState === EventSource.CLOSED) setTimeout(() => open_stream(on_event, on_state), 5000);
  });
  for (const name of event_names) {
    source.addEventListener(name, (message) => {
      let data = {};
      try {
        data = JSON.parse(message.data);
      } catch {
        return;
      }
      on_event(name, data);
    });
  }
}
