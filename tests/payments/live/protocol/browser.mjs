// As much of a browser as the live protocol touches, for any number of pages: clock, timers, sockets, fetch, htmx's
// requests, and a document of flat elements. All that a page holds can be saved and restored, so that an explorer can
// go back to any state. Only one page runs at a time; `enter` says which.

export const clock = { now: 0 };
export const LONG_AGO_MS = 12_500; // longer times make no difference
let page;

/** Return a function that computes each result once; the results are shared and never changed. */
export function remembered(compute, keyOf = (key) => key) {
  const results = new Map();
  return (value) => {
    const key = keyOf(value);
    if (!results.has(key)) results.set(key, compute(value));
    return results.get(key);
  };
}

export function enter(next) {
  page = next;
  globalThis.document = next.document;
  globalThis.window = next.window;
}

class Target {
  listeners = {};
  addEventListener(name, hear) {
    (this.listeners[name] ??= []).push(hear);
  }
  dispatchEvent(event) {
    for (const hear of this.listeners[event.type] ?? []) hear(event);
    return !event.defaultPrevented;
  }
}

class Event {
  defaultPrevented = false;
  constructor(type, fields = {}) {
    Object.assign(this, fields);
    this.type = type;
  }
  preventDefault() {
    this.defaultPrevented = true;
  }
}

class LiveElement extends Target {
  constructor() {
    super();
    this.fields = { "#live-cursor": { value: "" }, "#live-epoch": { value: "" } };
  }
  querySelector(selector) {
    return this.fields[selector];
  }
  getAttribute() {
    return "/ws/payments/?feed=staff&lang=fr";
  }
  dispatchEvent(event) {
    super.dispatchEvent(event);
    page.hear(event);
    return !event.defaultPrevented;
  }
}

/**
 * An element with an id and a version; `shows` stands for its content, and `items` are the ids of what it lists. It
 * never changes: a page puts another in its place. `swap` is what its attribute hx-swap-oob says.
 */
export class Element {
  parentElement = { closest: () => null };
  constructor(id, { version, shows, items = [], swap = "true" }) {
    Object.assign(this, { id, shows, items, swap, dataset: { version } });
    this.text = `${id} ${version} ${shows} ${items}`;
  }
  get outerHTML() {
    return this; // `htmx.swap` below takes elements for HTML
  }
  get firstElementChild() {
    return { id: this.items[0] };
  }
  getAttribute() {
    return this.swap;
  }
  removeAttribute() {}
  contains() {
    return false;
  }
  querySelector() {
    return null;
  }
  querySelectorAll() {
    return [];
  }
  replaceWith(fresh) {
    page.elements[this.id] = fresh;
  }
  append(item) {
    if (this.id === "toasts") page.announce("toasted", item.id);
    else page.elements[this.id] = new Element(this.id, { shows: this.shows, items: [...this.items, item.id] });
  }
  dispatchEvent(event) {
    page.hear(event);
  }
}
const toasts = new Element("toasts", {});

/** Parse one entry, whose attributes say what it holds; templates/payments/_live_entry.html is what it stands for. */
const parse = remembered((html) => {
  const dataset = Object.fromEntries([...html.matchAll(/data-(\w+)="([^"]*)"/g)].map(([, key, value]) => [key, value]));
  const { payment, version, status } = dataset;
  const children = [
    new Element(`payment-${payment}`, { version, shows: status }),
    new Element("", { items: [`change-${payment}-${status}`], swap: `beforeend:#payment-${payment}-timeline` }),
    new Element("", { items: [status], swap: "beforeend:#toasts" }),
  ];
  return { dataset, children };
});

class Template {
  set innerHTML(html) {
    const entries = html.split("\n").map(parse);
    this.content = { querySelectorAll: () => entries };
  }
}

class Document extends Target {
  hidden = false;
  activeElement = null;
  documentElement = { dataset: {} };
  createElement() {
    return new Template();
  }
  getElementById(id) {
    return page.elements[id] ?? Object.values(page.elements).find((element) => element.items.includes(id)) ?? null;
  }
  querySelector(selector) {
    return selector === "#toasts" ? toasts : (page.elements[selector.slice(1)] ?? null);
  }
  querySelectorAll() {
    return Object.values(page.elements);
  }
}

class FakeSocket {
  static CONNECTING = 0;
  static OPEN = 1;
  readyState = 0;
  accepted = false; // by the server
  cut = false; // nothing arrives any more, in either direction, and nobody is told
  ending = 0; // the close code that arrives after the messages
  messages = [];
  told = null; // the number and epoch that the last message told
  onopen = this.onmessage = this.onclose = null;

  constructor(url) {
    this.after = Number(url.searchParams.get("after"));
    this.epoch = url.searchParams.get("epoch");
    this.id = `${page.name}${(page.opened += 1)}`;
    page.sockets.push(this);
    page.requests += 1;
    page.acted = true;
  }
  send() {
    page.acted = true;
    if (!this.cut && this.accepted) page.network.ping(this.id);
  }
  close() {
    this.readyState = 3;
    page.acted = true;
    if (!this.cut && this.accepted) page.network.leave(this.id);
    const isHeard = this.onmessage || this.onclose; // what is under way then arrives late
    if (isHeard) Object.assign(this, { cut: false, ending: 1006 });
    else page.sockets = page.sockets.filter((socket) => socket !== this);
  }
  save() {
    const { readyState, accepted, cut, ending, messages, told, onopen, onmessage, onclose } = this;
    const fields = { readyState, accepted, cut, ending, told, onopen, onmessage, onclose };
    return { socket: this, fields, messages: [...messages] };
  }
}

const Url = URL;
Object.assign(globalThis, {
  CustomEvent: Event,
  HTMLElement: LiveElement,
  WebSocket: FakeSocket,
  location: { href: "http://clinic.example/desk/", reload: () => (page.acted = true) },
  setTimeout: (run, ms = 0) => page.start(run, ms),
  clearTimeout: (timer) => void (page.timers = page.timers.filter((each) => each !== timer)),
  setInterval: (run) => (page.watch = run),
  fetch: () => new Promise((resolve) => page.load(resolve)),
  DOMParser: class {
    parseFromString = (answer) => ({
      getElementById(id) {
        const fields = { "live-cursor": { value: `${answer.seq}` }, "live-epoch": { value: answer.epoch } };
        return fields[id] ?? answer.elements[id];
      },
    });
  },
  URL: class extends Url {},
});
Date.now = () => clock.now;
Math.random = () => 0.5;
AbortSignal.timeout = () => null;
console.info = () => {};

/** The fields of a page that hold no objects. */
const SIMPLE = "queued fired confirmed toasted excused requests opened believesSince wrongMs".split(" ");

/** One open page with a <live-source>. `network` is the server's end: `ping` and `leave`, each with a socket's id. */
export class Page {
  timers = [];
  sockets = [];
  poll = null; // htmx's request of the <live-source>, and what it does after it
  queued = null;
  fragments = []; // htmx's requests of other elements
  loading = null; // the request of the page for itself
  fired = 0; // changes whose events were dispatched, as bits
  confirmed = 0;
  toasted = 0;
  excused = 0; // changes that the page got by being loaded
  twice = ""; // what happened a second time
  acted = false;
  requests = 0; // and sockets, since something last happened to the page from outside
  opened = 0;
  believesSince = 0; // since when it has been connected and proven at most a beat ago
  rightAt = {}; // until when each element has shown what the database held
  wrongMs = 0; // how long the page has been wrong since something last happened

  constructor(Source, name, network, { epoch, seq, elements, changes }) {
    Object.assign(this, { name, network, elements: { ...elements }, excused: changes });
    this.document = new Document();
    this.window = Object.assign(new Target(), { htmx: { swap: (shown, fresh) => (this.elements[shown.id] = fresh) } });
    enter(this);
    this.source = new Source();
    this.source.fields["#live-cursor"].value = `${seq}`;
    this.source.fields["#live-epoch"].value = epoch;
    this.source.addEventListener("live:refresh", () => this.request("live:refresh"));
    this.source.connectedCallback();
    const names = Object.keys(this.source).filter((key) => !["listeners", "fields", "_listening"].includes(key));
    this.remembered = names.filter((key) => typeof this.source[key] !== "function");
  }

  /** Whether the page says that it is right: it is connected, and was proven at most a beat ago. */
  get believes() {
    return this.source.connected && clock.now - this.source.provenAt <= 10_000;
  }

  start(run, ms) {
    const timer = { run, ms, at: clock.now + ms };
    this.timers.push(timer);
    return timer;
  }

  /** Run the timers that are due, and each full second the page's watch. */
  tick() {
    for (const timer of this.timers.filter(({ at }) => at <= clock.now)) {
      this.timers = this.timers.filter((each) => each !== timer);
      timer.run();
    }
    if (clock.now % 1000 === 0) this.watch();
  }

  runNow() {
    for (const timer of this.timers.filter(({ ms }) => ms === 0)) {
      this.timers = this.timers.filter((each) => each !== timer);
      timer.run();
    }
  }

  announce(kind, change) {
    const bit = 1 << Number(change);
    const isToast = kind === "toasted"; // payment-toast.js drops a second toast
    if (!isToast && this[kind] & bit) this.twice = `${kind} ${change}`;
    this[kind] |= bit;
  }

  hear({ type, detail }) {
    if (type === "payment:updated") this.announce("fired", detail.status);
    if (type === "payment:confirmed") this.announce("confirmed", detail.status);
  }

  /** What htmx does with the <live-source>: one request at a time, and the last event meanwhile is queued. */
  request(type) {
    if (this.poll) {
      this.queued = type;
      return;
    }
    const poll = { epoch: this.source.epoch, after: this.source.cursor, since: clock.now, answer: null };
    const detail = { requestConfig: { triggeringEvent: { type } } };
    if (!this.source.dispatchEvent(new Event("htmx:beforeRequest", { detail }))) return;
    this.poll = poll;
    this.requests += 1;
    this.acted = true;
  }

  /** End htmx's request of the <live-source>, with its answer or none. */
  endPoll(answer) {
    const getResponseHeader = (name) => answer.headers[name] ?? null;
    const xhr = answer && { status: answer.status, responseText: answer.html, getResponseHeader };
    if (xhr) this.source.dispatchEvent(new Event("htmx:beforeSwap", { detail: { xhr, shouldSwap: true } }));
    this.poll = null;
    const { queued } = this;
    this.queued = null;
    if (queued) this.request(queued);
  }

  /** Show what another element of htmx has requested. */
  endFragment(answer) {
    Object.assign(this.elements, answer.elements);
    const xhr = { status: 200, getResponseHeader: (name) => answer.headers[name] ?? null };
    this.document.dispatchEvent(new Event("htmx:afterRequest", { target: this.document, detail: { xhr } }));
  }

  load(resolve) {
    this.loading = { since: clock.now, resolve, answer: null };
    this.requests += 1;
    this.acted = true;
  }

  /** End the page's request for itself, with its answer or none, and wait until the page has done what it does then. */
  async endLoad(answer) {
    const { resolve } = this.loading;
    this.loading = null;
    resolve(answer && { status: 200, text: () => answer });
    for (let turns = 0; turns < 12; turns += 1) await null;
    if (answer) this.excused |= answer.changes;
  }

  save() {
    const { timers, poll, fragments, loading, rightAt } = this;
    const copies = { timers: [...timers], poll: poll && { ...poll }, rightAt: { ...rightAt } };
    const page = Object.fromEntries(SIMPLE.map((name) => [name, this[name]]));
    return {
      page: { ...page, ...copies, fragments: fragments.map((each) => ({ ...each })) },
      loading: loading && { ...loading },
      elements: { ...this.elements },
      sockets: this.sockets.map((socket) => socket.save()),
      source: this.remembered.map((name) => this.source[name]),
      fields: Object.values(this.source.fields).map(({ value }) => value),
      state: this.document.documentElement.dataset.live,
    };
  }

  restore(saved) {
    Object.assign(this, saved.page, { twice: "", acted: false, loading: null });
    this.timers = [...saved.page.timers];
    this.rightAt = { ...saved.page.rightAt };
    this.poll &&= { ...this.poll };
    this.fragments = this.fragments.map((each) => ({ ...each }));
    this.elements = { ...saved.elements };
    const back = ({ socket, fields, messages }) => Object.assign(socket, fields, { messages: [...messages] });
    this.sockets = saved.sockets.map(back);
    this.remembered.forEach((name, place) => (this.source[name] = saved.source[place]));
    Object.values(this.source.fields).forEach((field, place) => (field.value = saved.fields[place]));
    this.document.documentElement.dataset.live = saved.state;
    if (!saved.loading) return;
    enter(this); // a promise can't be saved, so the page's request for itself begins again, as it was and when it was
    this.source._reloading = null;
    const { now } = clock;
    clock.now = saved.loading.since;
    this.source.reload();
    clock.now = now;
    this.requests -= 1;
    Object.assign(this.loading, { since: saved.loading.since, answer: saved.loading.answer });
  }

  /** Return all that the page's behavior depends on, as text; `socketState` describes the server's end of a socket. */
  describe(socketState) {
    const { source, poll, loading } = this;
    const ago = (at, most) => Math.min(clock.now - at, most);
    const request = (each) => each && [ago(each.since, 10_000), each.epoch, each.after, each.answer?.key];
    const sockets = this.sockets.map((each) => {
      const { readyState, accepted, cut, ending, messages, told, after, epoch, id, onmessage } = each;
      const page = [!!onmessage, each === source._socket];
      return [readyState, accepted, cut, ending, messages, told, after, epoch, page, socketState(id)];
    });
    const elements = Object.values(this.elements).map(({ text, id }) => [text, ago(this.rightAt[id], LONG_AGO_MS)]);
    const times = [ago(source.provenAt, 10_500), ago(source._askedAt, 10_500), ago(source._heardAt, 20_000)];
    const { announced, _head, _state, _tries, _outdated, cursor, epoch } = source;
    const waits = [!!source._reloading, !!source._probing];
    const decides = [announced, _head, _state, _tries, _outdated, cursor, epoch, waits];
    const requests = [request(poll), this.queued, this.fragments.map(request), request(loading)];
    const timers = this.timers.map(({ ms, at }) => [ms, at - clock.now]);
    const seen = [this.fired, this.confirmed, this.toasted, this.excused, this.requests, this.wrongMs];
    const believes = this.believes ? ago(this.believesSince, LONG_AGO_MS) : -1;
    return JSON.stringify([decides, times, sockets, requests, timers, elements, seen, believes]);
  }
}
