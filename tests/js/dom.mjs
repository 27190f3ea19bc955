// As much of a browser as live-source.js touches: elements, events, a WebSocket whose other end the test holds.
// Import it before the module under test; time is node:test's mock.

class Element extends EventTarget {
  dataset = {};
  attributes = {};
  getAttribute(name) {
    return this.attributes[name] ?? null;
  }
}

export class FakeSocket {
  static CONNECTING = 0;
  static OPEN = 1;
  static all = [];
  readyState = 0;
  sent = [];

  constructor(url) {
    this.url = new URL(url);
    FakeSocket.all.push(this);
  }
  send(text) {
    this.sent.push(text);
  }
  close() {
    this.readyState = 3;
  }
  /** What the server does. */
  says(message) {
    this.readyState = 1;
    this.onmessage?.({ data: JSON.stringify(message) });
  }
  ends(code = 1006) {
    this.readyState = 3;
    this.onclose?.({ code });
  }
}

/** Parses nothing but the entries' own tags. */
class Template {
  set innerHTML(html) {
    const entries = [...html.matchAll(/<live-entry ([^>]*)>/g)].map(([, attributes]) => ({
      children: [],
      innerHTML: "",
      dataset: Object.fromEntries([...attributes.matchAll(/data-(\w+)="([^"]*)"/g)].map(([, key, value]) => [key, value])),
    }));
    this.content = { querySelectorAll: () => entries };
  }
}

export const page = new EventTarget();
export const told = []; // numbers whose payment:updated the page heard
globalThis.HTMLElement = Element;
globalThis.WebSocket = FakeSocket;
globalThis.location = { href: "http://clinic.example/desk/", reload() {} };
globalThis.document = Object.assign(page, {
  hidden: false,
  documentElement: { dataset: {} },
  getElementById: () => null,
  querySelector: () => null,
  querySelectorAll: () => [],
  createElement: () => new Template(),
});
globalThis.window = Object.assign(new EventTarget(), { htmx: { swap() {} } });
globalThis.console.info = () => {};
let defined;
globalThis.customElements = { define: (name, constructor) => (defined = constructor) };

await import("../../payments/static/payments/js/live-source.js");

/** A connected <live-source> with its cursor at `cursor`; `asked` lists why it asked over HTTP. */
export function openPage(cursor = 0) {
  FakeSocket.all.length = told.length = 0;
  document.hidden = false;
  const source = new defined();
  const fields = { "#live-cursor": { value: String(cursor) }, "#live-epoch": { value: "e1" } };
  source.querySelector = (selector) => fields[selector];
  source.attributes.src = "/ws/payments/?feed=staff&lang=fr";
  source.asked = [];
  source.losses = [];
  source.addEventListener("live:refresh", (event) => source.asked.push(event.detail.why));
  source.addEventListener("live:reconnect", (event) => source.losses.push(event.detail));
  source.addEventListener("payment:updated", (event) => told.push(event.detail.seq));
  source.connectedCallback();
  return source;
}

export const socket = () => FakeSocket.all.at(-1);
export const state = () => document.documentElement.dataset.live;
export const entry = (seq, epoch = "e1") => ({
  seq,
  prev: seq - 1,
  epoch,
  html: `<live-entry data-seq="${seq}" data-payment="p${seq}" data-status="paid"></live-entry>`,
});
export const entries = (...numbers) => numbers.map((seq) => entry(seq).html).join("\n");

/** What htmx does with an answer of the poll. */
export function answer(source, status, body = "", headers = {}) {
  const all = { "X-Live-Epoch": "e1", ...headers };
  const xhr = { status, responseText: body, getResponseHeader: (name) => all[name] ?? null };
  source.dispatchEvent(new CustomEvent("htmx:beforeSwap", { detail: { xhr, shouldSwap: true } }));
}

/** What htmx does with the answer of another element, which was rendered at this place in the feed. */
export function fragment(seq, epoch = "e1") {
  const xhr = { getResponseHeader: (name) => ({ "X-Live-Seq": `${seq}`, "X-Live-Epoch": epoch })[name] };
  page.dispatchEvent(new CustomEvent("htmx:afterRequest", { detail: { xhr } }));
}

/** Whether a poll would go out now. */
export function polls(source, type) {
  const detail = { requestConfig: { triggeringEvent: type && { type } } };
  return source.dispatchEvent(new CustomEvent("htmx:beforeRequest", { detail, cancelable: true }));
}
