// <connection-state>: says in words whether the page is live, and how old what it shows may be.

const SETTLED_MS = 2000; // screen readers hear only states that last

class ConnectionState extends HTMLElement {
  #listening;
  #clock;
  #settling;
  #said = "connected";

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
  }

  #show(state) {
    for (const words of this.querySelectorAll("[data-when]")) words.hidden = words.dataset.when !== state;
    this.#showAge();
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => this.#say(state), SETTLED_MS);
  }

  #say(state) {
    const words = this.querySelector(`[data-when="${state}"]`);
    if (words && state !== "connecting" && state !== this.#said) {
      this.querySelector("[role=status]").textContent = words.textContent.trim();
      this.#said = state;
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
