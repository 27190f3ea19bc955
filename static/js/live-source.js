// <live-source>: the page's one socket. Every message names the number that it brings the page to, so whatever is
// missing is noticed and asked for over HTTP. htmx does all swaps, and polls while the socket isn't healthy.
// docs/components.md lists attributes, events and properties.

import { applyEntries, fetchRegions } from "./live-entries.js";
import { CONNECT_MS, HELLO_MS, LATE_MS, PROBE_MS, retryMs } from "./live-waits.js";

const POLLING_AFTER = 3; // failed tries until the page says that it polls
const SIGNED_OUT = [4401, 4403]; // close codes

class LiveSource extends HTMLElement {
  told = 0; // the newest number that events told of: the cursor may go back, news may not come twice
  provenAt = 0; // when the page was last known to be current, in ms since 1970
  #socket = null;
  #state = "";
  #tries = 0;
  #cause = { why: "", code: "" }; // of the last loss, for the server's log
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

  get connected() {
    return this.#state === "connected";
  }

  send = (text) => this.#socket.send(text);

  /** Ask over HTTP for what the page hasn't been told, whatever the socket does. */
  refresh(why = "manual") {
    this.dispatchEvent(new CustomEvent("live:refresh", { detail: { why } }));
  }

  /** Read the page's live regions anew, for when the numbers don't join up or rows are missing. */
  async reload() {
    const cursor = await fetchRegions();
    if (cursor === null) return;
    this.cursor = this.told = Number(cursor);
    this.provenAt = Date.now();
  }

  connectedCallback() {
    this.#listening = new AbortController();
    const on = (target, name, hear) => target.addEventListener(name, hear, { signal: this.#listening.signal });
    on(window, "online", () => this.#wake("online"));
    on(window, "offline", () => this.#rest("offline", "offline"));
    on(window, "pagehide", () => this.#rest("pagehide", "reconnecting")); // an open socket keeps pages out of the bfcache
    on(window, "pageshow", (event) => event.persisted && this.#wake("pageshow"));
    on(document, "visibilitychange", () => document.hidden || this.#wake("visible"));
    on(document, "htmx:afterRequest", (event) => event.target !== this && this.#checkFragment(event.detail.xhr));
    on(this, "htmx:beforeRequest", (event) => {
      const asked = event.detail.requestConfig.triggeringEvent?.type === "live:refresh";
      if (this.connected && !asked) event.preventDefault(); // a healthy socket needs no poll
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
    url.searchParams.set("after", this.cursor);
    if (this.#tries) url.search += `&${new URLSearchParams({ try: this.#tries, ...this.#cause })}`;
    this.#heardAt = Date.now();
    this.#socket = new WebSocket(url);
    this.#socket.onopen = () => (this.#heardAt = Date.now());
    this.#socket.onmessage = (event) => this.#hear(JSON.parse(event.data));
    this.#socket.onclose = (event) => this.#lose("closed", event.code);
  }

  /** Forget the socket first: on a dead line close() may take minutes to tell. */
  #drop() {
    clearTimeout(this.#retrying);
    this.#probing = clearTimeout(this.#probing);
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
    if (code >= 4400 && code < 4500) return this.#set("polling"); // the server wants no more of these sockets
    this.#tries += 1;
    const delay = retryMs(this.#tries);
    console.info(`live: ${why} ${code}, attempt ${this.#tries} in ${delay} ms`);
    this.#emit("live:reconnect", { attempt: this.#tries, delay, why, code });
    this.#retrying = setTimeout(() => this.#open(), delay);
    this.#set(this.#troubled());
    if (this.#tries === POLLING_AFTER) this.refresh(why);
  }

  /** No socket until the page wakes. */
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

  /** The socket claims to be open: let it prove it. */
  #prove(why) {
    this.#socket.send("ping");
    this.#probing ??= setTimeout(() => this.#reopen(why), PROBE_MS);
  }

  #reopen(why) {
    [this.#cause, this.#tries] = [{ why, code: "" }, this.#tries || 1];
    this.#open();
  }

  /** By the wall clock: timers of hidden and sleeping pages don't run on time. */
  #watch() {
    const silentMs = Date.now() - this.#heardAt;
    const open = this.#socket?.readyState === WebSocket.OPEN;
    if (open && this.connected) return silentMs > this.#beatMs + LATE_MS && !this.#probing && this.#prove("stale");
    if (this.#socket && silentMs > (open ? HELLO_MS : CONNECT_MS)) this.#lose("timeout");
  }

  #hear(message) {
    this.#heardAt = Date.now();
    this.#probing = clearTimeout(this.#probing);
    if (message.t === "hello") {
      this.#tries = 0;
      this.#beatMs = message.hb * 1000;
      this.#set("connected");
      if (message.seq < this.cursor) this.refresh("gap");
    }
    if ((message.t ? message.seq : message.prev) > this.cursor) return this.refresh("gap");
    this.provenAt = this.#heardAt;
    if (message.html) applyEntries(this, message.html);
  }

  #answer(xhr) {
    if (xhr.status === 401 || xhr.status === 403) return this.#rest("answer", "signed-out");
    if (xhr.status >= 400) return;
    if (xhr.getResponseHeader("X-Live-Reset")) return this.reload();
    if (xhr.status === 200) applyEntries(this, xhr.responseText);
    if (xhr.getResponseHeader("X-Live-More")) this.refresh("more");
    else this.provenAt = Date.now();
    if (["signed-out", "offline"].includes(this.#state)) this.#lose("answered"); // it is neither
  }

  /** A fragment that some other request brought may be older than what the page was told meanwhile. */
  #checkFragment(xhr) {
    const seq = xhr?.getResponseHeader("X-Live-Seq");
    if (!seq || Number(seq) >= this.cursor) return;
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
