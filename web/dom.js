// Building blocks of the page. Every text goes in as a text node: there is no way from a string to markup here.

const svg_ns = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** h("p", {class: "x"}, "text", node): an HTML element. */
export const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);

/** The same for SVG. */
export const s = (tag, attributes, ...children) => fill(document.createElementNS(svg_ns, tag), attributes, children);

/** Sets a text only if it differs, so that a live page does not disturb a selection. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Makes the children of `parent` those of `items`, keeping the elements whose key stays (and with them focus and state). */
export function keyed(parent, items, key_of, make, update) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let at = parent.firstElementChild;
  for (const item of items) {
    const key = String(key_of(item));
    let element = old.get(key);
    if (element) old.delete(key);
    else {
      element = make(item);
      element.dataset.key = key;
    }
    update?.(element, item);
    if (element === at) at = at.nextElementSibling;
    else parent.insertBefore(element, at);
  }
  for (const gone of old.values()) gone.remove();
}

const unseen = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/** Text of a record as it should be read: what hides or turns text round is shown by its code point. */
export const visible = (text) => String(text).replace(unseen, (c) => `⟦U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟧`);

/** A short form of an id with the whole one to copy. */
export function id_chip(id, label) {
  const button = h("button", { class: "chip mono", type: "button", title: `${label}: ${id} (click to copy)` }, short_id(id));
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(id);
      say(button, "copied");
    } catch {
      say(button, id);
    }
    setTimeout(() => say(button, short_id(id)), 1200);
  });
  return button;
}

export const short_id = (id) => (id.length > 14 ? `${id.slice(0, 8)}…${id.slice(-4)}` : id);

/** Calls `work` now, and once more after the last request: never twice at a time, and the slower it is the longer it rests. */
export function throttled(work, wait_ms) {
  let busy = false;
  let again = false;
  return async function run() {
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    const began = performance.now();
    await work();
    const rest_ms = Math.max(wait_ms, 2 * (performance.now() - began));
    setTimeout(() => {
      busy = false;
      if (!again) return;
      again = false;
      run();
    }, rest_ms);
  };
}
