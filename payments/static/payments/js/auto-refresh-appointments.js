// <auto-refresh-appointments>: a list whose changed rows light up where they are. Rows that are missing, or that belong
// elsewhere now, wait behind a button, so that nothing moves while somebody reads or clicks.

const LIT_MS = 4000;

class AutoRefreshAppointments extends HTMLElement {
  #listening;
  #missing = new Set();
  #lit = new WeakMap(); // rows to the timers that end their light

  connectedCallback() {
    this.#listening = new AbortController();
    const { signal } = this.#listening;
    document.addEventListener("payment:updated", (event) => this.#onUpdate(event.detail), { signal });
    this.#button.addEventListener("click", () => this.#fetch(), { signal });
  }

  disconnectedCallback() {
    this.#listening.abort();
  }

  get #button() {
    return this.querySelector("[data-new]");
  }

  #onUpdate(detail) {
    const display = this.querySelector(`[id="payment-${detail.id}"]`);
    if (display && !detail.rebooked) return this.#light(display.closest("[data-row], tr, li, article") ?? display);
    if (!display && !this.#belongsHere(detail)) return;
    this.#missing.add(detail.id);
    const count = this.#missing.size;
    const text = count === 1 ? this.#button.dataset.one : this.#button.dataset.many;
    this.#button.textContent = text.replace("{count}", count);
    this.#button.hidden = false;
  }

  #belongsHere({ day, status, reviews, practitioner }) {
    const limits = this.dataset;
    const within = (!limits.since || day >= limits.since) && (!limits.until || day <= limits.until);
    const among = !limits.statuses || limits.statuses.split(" ").includes(status);
    if (limits.review && !reviews.length) return false;
    return within && among && (!limits.practitioner || practitioner === limits.practitioner);
  }

  #light(row) {
    clearTimeout(this.#lit.get(row));
    if (row.classList.contains("just-changed")) {
      for (const fading of row.getAnimations({ subtree: true })) fading.currentTime = 0;
    }
    row.classList.add("just-changed");
    this.#lit.set(row, setTimeout(() => row.classList.remove("just-changed"), LIT_MS));
  }

  async #fetch() {
    const id = this.id;
    await document.querySelector("live-source").reload(); // swaps in a new element for this one
    document.getElementById(id)?.focus({ preventScroll: true });
  }
}

customElements.define("auto-refresh-appointments", AutoRefreshAppointments);
