// <session-end>: asks "Still there?" two minutes before the session of somebody who does nothing ends, and hides the page
// while nobody is signed in. Who types or clicks stays signed in without being asked.

const ASK_MS = 120_000;
const USED_MS = 60_000; // somebody who used the page as recently as this is there
const AGAIN_MS = 15_000; // between two questions to the server: another tab may have prolonged the session

class SessionEnd extends HTMLElement {
  #listening;
  #clock;
  #endsAt;
  #usedAt = 0;
  #askedAt = 0;
  #title = "";

  connectedCallback() {
    const on = (target, name, hear) => target.addEventListener(name, hear, { signal: this.#listening.signal });
    this.#listening = new AbortController();
    this.#endsAt = Date.now() + Number(this.getAttribute("seconds")) * 1000;
    this.#clock = setInterval(() => this.#tick(), 1000);
    const use = (event) => event.isTrusted && (this.#usedAt = Date.now());
    for (const name of ["keydown", "pointerdown"]) on(document, name, use);
    on(document, "live:state", ({ detail }) => this.#hidePage(detail.state === "signed-out"));
    on(this.#part("[data-hides]"), "cancel", (event) => event.preventDefault());
    on(this.#part("[data-asks]"), "cancel", () => this.#stay());
    on(this.#part("[data-stays]"), "click", () => this.#stay());
  }

  disconnectedCallback() {
    this.#listening.abort();
    clearInterval(this.#clock);
  }

  #part = (selector) => this.querySelector(selector);

  async #tick() {
    if (this.#part("[data-hides]").open) return;
    const question = this.#part("[data-asks]");
    if (this.#leftMs() <= ASK_MS && Date.now() >= this.#askedAt + AGAIN_MS) {
      await this.#askServer(!question.open && Date.now() < this.#usedAt + USED_MS);
    }
    if (this.#leftMs() > ASK_MS) return question.close();
    const left = Math.ceil(this.#leftMs() / 1000);
    const text = question.querySelector("[data-text]");
    const time = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
    text.textContent = text.dataset.text.replace("{time}", time);
    if (!question.open && question.returnValue !== "seen") question.showModal();
  }

  #leftMs = () => Math.max(0, this.#endsAt - Date.now());

  async #stay() {
    this.#part("[data-asks]").returnValue = "seen";
    await this.#askServer(true);
    this.#tick();
  }

  /** Ask the server when the session ends. If `used`, say that a person asks, which prolongs the session. */
  async #askServer(used) {
    this.#askedAt = Date.now();
    const headers = used ? {} : { "HX-Request": "true" }; // htmx's header: what a page fetches by itself prolongs nothing
    const options = { cache: "no-store", headers, signal: AbortSignal.timeout(AGAIN_MS) };
    const answer = await fetch(this.getAttribute("src"), options).catch(() => null);
    if (answer?.status === 401) document.querySelector("live-source")?.refresh("session");
    if (!answer?.ok) return;
    const { seconds, longest } = await answer.json();
    this.#endsAt = Date.now() + seconds * 1000;
    if (this.#leftMs() > ASK_MS) this.#part("[data-asks]").returnValue = "";
    for (const each of this.querySelectorAll("[data-longest]")) each.hidden = !longest;
    this.#part("[data-stays]").hidden = longest;
  }

  /** Cover the page and take the patient's name out of the tab's title, or show both again. */
  #hidePage(hidden) {
    const cover = this.#part("[data-hides]");
    if (hidden === cover.open) return;
    if (!hidden) {
      cover.close();
      document.title = this.#title;
      return;
    }
    this.#part("[data-asks]").close();
    this.#title = document.title;
    document.title = cover.querySelector("h1").textContent;
    cover.showModal();
  }
}

customElements.define("session-end", SessionEnd);
