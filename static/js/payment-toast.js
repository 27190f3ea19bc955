// <payment-toast>: announces one change once, in whichever of a person's tabs is visible.

const SHOWN_MS = 20000;
const REMEMBERED = 100; // changes kept in storage
const STORE = "payments.told";
const AT_ONCE = 4;

/**
 * Return whether no tab has shown this change yet, and remember that one has now. `change` begins with its time. A change
 * older than all that are remembered counts as shown, because claiming it would make the storage forget another.
 */
function claim(change) {
  const shown = JSON.parse(localStorage.getItem(STORE) ?? "[]");
  if (shown.includes(change) || (shown.length === REMEMBERED && change < shown[0])) return false;
  localStorage.setItem(STORE, JSON.stringify([...shown, change].sort().slice(-REMEMBERED)));
  return true;
}

/** Remove all toasts that match `selector` but the newest. */
function keepNewest(selector) {
  for (const toast of [...document.querySelectorAll(selector)].slice(0, -AT_ONCE)) toast.remove();
}

/**
 * Run `work` in one tab at a time, because two windows side by side get a message in the same millisecond.
 * Browsers have locks only on https and localhost.
 */
const exclusively = (work) => (navigator.locks ? navigator.locks.request(STORE, async () => work()) : work());

class PaymentToast extends HTMLElement {
  #listening;
  #timer;
  #claiming = false;

  connectedCallback() {
    this.#listening = new AbortController();
    const on = (target, name, hear) => target.addEventListener(name, hear, { signal: this.#listening.signal });
    on(this, "click", (event) => event.target.closest("button") && this.remove());
    on(this, "keydown", (event) => event.key === "Escape" && this.remove());
    on(this, "pointerenter", () => clearTimeout(this.#timer));
    on(this, "focusin", () => clearTimeout(this.#timer));
    on(this, "pointerleave", () => this.#fadeLater());
    on(this, "focusout", () => this.#fadeLater());
    on(document, "visibilitychange", () => this.#show());
    if (this.hasAttribute("shown")) this.#fadeLater(); // it was moved within the page
    else this.#show();
  }

  disconnectedCallback() {
    this.#listening?.abort();
    clearTimeout(this.#timer);
  }

  async #show() {
    if (this.#claiming || this.hasAttribute("shown")) return;
    if (document.hidden) return keepNewest("payment-toast:not([shown])");
    this.#claiming = true;
    if (!(await exclusively(() => claim(`${this.dataset.at} ${this.id}`)))) return this.remove();
    this.setAttribute("shown", "");
    keepNewest("payment-toast[shown]");
    this.#fadeLater();
  }

  #fadeLater() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.remove(), SHOWN_MS);
  }
}

customElements.define("payment-toast", PaymentToast);
