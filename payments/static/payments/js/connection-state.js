// <connection-state>: shows in words whether the page is live, and how old its content may be.

const SETTLED_MS = 2000; // a shorter state isn't announced to screen readers
const PATIENCE_MS = 5000; // most lost connections are back before anybody has to know
const LOST = ["reconnecting", "polling"];

class ConnectionState extends HTMLElement {
  #listening;
  #clock;
  #settling;
  #waiting;
  #lostAt = 0;
  #announced = "connected";

  connectedCallback() {
    this.#listening = new AbortController();
    const { signal } = this.#listening;
    document.addEventListener("live:state", (event) => this.#show(event.detail.state), { signal });
    if (document.documentElement.dataset.live) this.#show(document.documentElement.dataset.live);
    this.#clock = setInterval(() => this.#showAge(), 1000);
  }

  disconnectedCallback() {
    this.#listening.abort();
    clearInterval(this.#clock);
    clearTimeout(this.#settling);
    clearTimeout(this.#waiting);
  }

  #show(state) {
    clearTimeout(this.#waiting);
    this.#lostAt = LOST.includes(state) ? this.#lostAt || Date.now() : 0;
    if (this.#lostAt) this.#waiting = setTimeout(() => this.#say(state), this.#lostAt + PATIENCE_MS - Date.now());
    else this.#say(state);
  }

  #say(state) {
    document.documentElement.dataset.liveSaid = state;
    for (const text of this.querySelectorAll("[data-when]")) text.hidden = text.dataset.when !== state;
    this.#showAge();
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => this.#announce(state), SETTLED_MS);
  }

  #announce(state) {
    const text = this.querySelector(`[data-when="${state}"]`);
    if (text && state !== "connecting" && state !== this.#announced) {
      this.querySelector("[role=status]").textContent = text.textContent.trim();
      this.#announced = state;
    }
  }

  #showAge() {
    const provenAt = document.querySelector("live-source")?.provenAt;
    if (!provenAt) return;
    const seconds = Math.max(0, Math.round((Date.now() - provenAt) / 1000));
    const [count, unit] = seconds < 60 ? [seconds, "second"] : [Math.floor(seconds / 60), "minute"];
    const format = new Intl.RelativeTimeFormat(document.documentElement.lang, { numeric: "auto", style: "short" });
    const age = this.querySelector("[data-age]");
    age.textContent = age.dataset.age.replace("{age}", format.format(-count, unit));
    age.hidden = false;
  }
}

document.addEventListener("click", (event) => {
  const source = document.querySelector("live-source");
  if (!source || !event.target.closest?.("[data-live-refresh]")) return;
  event.preventDefault();
  source.refresh();
});

customElements.define("connection-state", ConnectionState);
