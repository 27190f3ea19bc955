// <live-source>: the page's one socket. Every message names the number that it brings the page to, so the page notices
// what is missing and requests it over HTTP. htmx polls while the socket isn't healthy.
// docs/components.md lists attributes, events and properties.

import { applyEntries, fetchRegions } from "./live-entries.js";
import { CONNECT_MS, HELLO_MS, LATE_MS, PROBE_MS, retryMs } from "./live-waits.js";

const POLLING_AFTER = 3; // failed tries until the page says that it polls
const SIGNED_OUT = [4401, 4403]; // close codes

/** Return the server's message in this text, or null if the page doesn't know such a message: it then proves nothing. */
function read(text) {
  try {
    const message = JSON.parse(text);
    const { t, seq, epoch, prev, html, hb } = message;
    const beats = t === "hb" || (t === "hello" && hb > 0);
    const tells = t === undefined && Number.isInteger(prev) && typeof html === "string";
    return Number.isInteger(seq) && typeof epoch === "string" && (beats || tells) ? message : null;
  } catch {
    return null; // no JSON, or null
  }
}

class LiveSource extends HTMLElement {
  announced = 0; // the newest number with dispatched events; the cursor may go back, but no event is sent twice
  provenAt = 0; // when the page was last known to be current, in ms since 1970
  #socket = null;
  #head = 0; // the newest number that the server has told
  #reloading = null; // the promise of a reload that isn't done yet
  #askedAt = 0; // when entries were last requested over HTTP
  #outdated = false; // whether a reload isn't done yet, or has failed
  #state = "";
  #tries = 0;
  #cause = { why: "", code: "" }; // of the last disconnect, for the server's log
  #beatMs = 10000;
  #heardAt = 0;
  #retrying;
  #probing;
  #watching;
  #listening;

  get cursor() {
    return Number(this.querySelector("#live-cursor").value);
  }

  set cursor(seq) {
    this.querySelector("#live-cursor").value = seq;
  }

  /** The epoch of the cursor: a number says nothing in another epoch, such as after a restored backup. */
  get epoch() {
    return this.querySelector("#live-epoch").value;
  }

  get connected() {
    return this.#state === "connected";
  }

  send = (text) => this.#socket.send(text);

  /** Request over HTTP what the page doesn't show yet, whether or not the socket is healthy. */
  refresh(why = "manual") {
    this.dispatchEvent(new CustomEvent("live:refresh", { detail: { why } }));
  }

  /** Load the page's live regions again, because its number is of no use any more or because rows are missing. */
  reload() {
    this.#reloading ??= this.#reload().finally(() => (this.#reloading = null));
    return this.#reloading;
  }

  async #reload() {
    const askedAt = Date.now();
    this.#outdated = true;
    const fresh = await fetchRegions();
    if (!fresh) return;
    this.#outdated = false;
    const announced = fresh.epoch === this.epoch ? this.announced : 0; // may be newer than what was loaded
    this.querySelector("#live-epoch").value = fresh.epoch;
    this.cursor = Number(fresh.cursor);
    this.announced = Math.max(announced, this.cursor);
    if (this.#head > this.cursor) this.refresh("gap"); // entries that came during the reload were dropped
    else this.provenAt = Math.max(this.provenAt, askedAt);
  }

  connectedCallback() {
    this.#listening = new AbortController();
    const on = (target, name, hear) => target.addEventListener(name, hear, { signal: this.#listening.signal });
    on(window, "online", () => this.#wake("online"));
    on(window, "offline", () => this.#rest("offline", "offline"));
    on(window, "pagehide", () => this.#rest("pagehide", "reconnecting")); // an open socket bars the bfcache
    on(window, "pageshow", (event) => event.persisted && this.#wake("pageshow"));
    on(document, "visibilitychange", () => document.hidden || this.#wake("visible"));
    on(document, "htmx:afterRequest", (event) => event.target !== this && this.#checkFragment(event.detail.xhr));
    on(document, "htmx:historyCacheMissLoad", (event) => this.#checkFragment(event.detail.xhr));
    on(this, "htmx:beforeRequest", (event) => {
      const requested = event.detail.requestConfig.triggeringEvent?.type === "live:refresh";
      if (this.connected && !requested) event.preventDefault(); // a healthy socket needs no poll
      else this.#askedAt = Date.now();
    });
    on(this, "htmx:beforeSwap", (event) => {
      event.detail.shouldSwap = false;
      this.#answer(event.detail.xhr);
    });
    this.#watching = setInterval(() => this.#watch(), 1000);
    this.#open();
  }

  disconnectedCallback() {
    this.#listening.abort();
    clearInterval(this.#watching);
    this.#drop();
  }

  #open() {
    this.#drop();
    this.#set(this.#tries ? this.#troubled() : "connecting");
    const url = new URL(this.getAttribute("src"), location.href);
    url.protocol = url.protocol.replace("http", "ws");
    url.searchParams.set("epoch", this.epoch);
    url.searchParams.set("after", this.cursor);
    if (this.#tries) url.search += `&${new URLSearchParams({ try: this.#tries, ...this.#cause })}`;
    this.#heardAt = Date.now();
    this.#socket = new WebSocket(url);
    this.#socket.onopen = () => (this.#heardAt = Date.now());
    this.#socket.onmessage = (event) => this.#hear(read(event.data));
    this.#socket.onclose = (event) => this.#lose("closed", event.code);
  }

  /** Close the socket without its events: on a broken connection `close` may come minutes later. */
  #drop() {
    clearTimeout(this.#retrying);
    this.#probing = clearTimeout(this.#probing);
    this.#head = 0; // the next socket tells it
    if (!this.#socket) return;
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
    this.#socket = null;
  }

  #troubled = () => (this.#tries >= POLLING_AFTER ? "polling" : "reconnecting");

  #lose(why, code = "") {
    this.#drop();
    this.#cause = { why, code };
    if (SIGNED_OUT.includes(code)) {
      this.#set("signed-out");
      return this.refresh(why); // another tab may have signed in again
    }
    if (code >= 4400 && code < 4500) return this.#set("polling"); // the server refuses more sockets like this one
    this.#tries += 1;
    const delay = retryMs(this.#tries);
    console.info(`live: ${why} ${code}, attempt ${this.#tries} in ${delay} ms`);
    this.#emit("live:reconnect", { attempt: this.#tries, delay, why, code });
    this.#retrying = setTimeout(() => this.#open(), delay);
    this.#set(this.#troubled());
    if (this.#tries === POLLING_AFTER) this.refresh(why);
  }

  /** Close the socket until the page wakes. */
  #rest(why, state) {
    this.#drop();
    this.#cause = { why, code: "" };
    if (this.#state !== "signed-out") this.#set(state);
  }

  #wake(why) {
    if (this.#state === "signed-out") return this.refresh(why);
    if (this.#socket?.readyState === WebSocket.CONNECTING) return;
    if (this.#socket?.readyState !== WebSocket.OPEN) return this.#reopen(why);
    this.#prove("probe");
  }

  /** Ping over a socket that claims to be open, and replace it unless an answer comes in time. */
  #prove(why) {
    this.#socket.send("ping");
    this.#probing ??= setTimeout(() => this.#reopen(why), PROBE_MS);
  }

  #reopen(why) {
    [this.#cause, this.#tries] = [{ why, code: "" }, this.#tries || 1];
    this.#open();
  }

  /** Notice a silent socket. Uses the wall clock, because timers of hidden and sleeping pages don't run on time. */
  #watch() {
    const silentMs = Date.now() - this.#heardAt;
    const open = this.#socket?.readyState === WebSocket.OPEN;
    if (open && this.connected) return silentMs > this.#beatMs + LATE_MS && !this.#probing && this.#prove("stale");
    if (this.#socket && silentMs > (open ? HELLO_MS : CONNECT_MS)) this.#lose("timeout");
  }

  #hear(message) {
    if (!message) return;
    this.#heardAt = Date.now();
    this.#probing = clearTimeout(this.#probing);
    this.#head = message.seq;
    if (message.t === "hello") {
      this.#tries = 0;
      this.#beatMs = message.hb * 1000;
      this.#set("connected");
    }
    if ((message.t && this.#outdated) || message.epoch !== this.epoch) return this.reload();
    if (message.t === "hello" && message.seq < this.cursor) this.refresh("gap");
    if ((message.t ? message.seq : message.prev) > this.cursor) return this.refresh("gap");
    if (message.html) applyEntries(this, message.html);
    if (!this.#outdated) this.provenAt = this.#heardAt;
  }

  #answer(xhr) {
    if (xhr.status === 401 || xhr.status === 403) return this.#rest("answer", "signed-out");
    if (xhr.status >= 400) return;
    const isForeign = xhr.getResponseHeader("X-Live-Epoch") !== this.epoch; // the page was reloaded meanwhile
    if (this.#outdated || isForeign || xhr.getResponseHeader("X-Live-Reset")) return this.reload();
    if (xhr.status === 200) applyEntries(this, xhr.responseText);
    const newest = Math.max(this.#head, xhr.getResponseHeader("X-Live-Seq")); // older fragments may put the cursor back
    if (xhr.getResponseHeader("X-Live-More")) this.refresh("more");
    else if (newest <= this.cursor && !this.#outdated) this.provenAt = Math.max(this.provenAt, this.#askedAt);
    if (["signed-out", "offline"].includes(this.#state)) this.#lose("answered"); // an answer came, so it is neither
  }

  /**
   * Go back to the number of a fragment that htmx has fetched, if entries came while it was on its way. A fragment of
   * another epoch may show what is no longer true, whatever its number.
   */
  #checkFragment(xhr) {
    if (xhr?.status === 401) return this.#rest("answer", "signed-out"); // the page stays, with what was typed there
    const seq = xhr?.getResponseHeader("X-Live-Seq");
    if (!seq) return;
    if (xhr.getResponseHeader("X-Live-Epoch") !== this.epoch) return this.reload();
    if (Number(seq) >= this.cursor) return;
    this.cursor = seq;
    this.refresh("fragment");
  }

  #set(state) {
    if (state === this.#state) return;
    const from = this.#state;
    this.#state = state;
    document.documentElement.dataset.live = state;
    this.#emit("live:state", { state, from });
  }

  #emit = (name, detail) => this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true }));
}

customElements.define("live-source", LiveSource);
