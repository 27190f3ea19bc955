// <payment-toast>: one change told once, in a tab that somebody sees, whichever of the person's tabs that is.

const SHOWN_MS = 20000;
const REMEMBERED = 100; // changes kept in storage
const STORE = "payments.toasts";
const AT_ONCE = 4;

/** Whether this change was told in no tab yet; remembers that it is now. */
function claim(change) {
  const told = JSON.parse(localStorage.getItem(STORE) ?? "[]");
  if (told.includes(change)) return false;
  localStorage.setItem(STORE, JSON.stringify([...told, change].slice(-REMEMBERED)));
  return true;
}

/** Two windows side by side get the same message in the same millisecond. Locks exist only on https and localhost. */
const inTurn = (work) => (navigator.locks ? navigator.locks.request(STORE, async () => work()) : work());

class PaymentToast extends HTMLElement {
  #listening;
  #timer;
  #awaited = false;

  connectedCallback() {
    if (this.hasAttribute("shown")) return;
    this.#listening = new AbortController();
    const on = (target, name, hear) => target.addEventListener(name, hear, { signal: this.#listening.signal });
    on(this, "click", (event) => event.target.closest("button") && this.remove());
    on(this, "keydown", (event) => event.key === "Escape" && this.remove());
    on(this, "pointerenter", () => clearTimeout(this.#timer));
    on(this, "focusin", () => clearTimeout(this.#timer));
    on(this, "pointerleave", () => this.#fadeLater());
    on(this, "focusout", () => this.#fadeLater());
    on(document, "visibilitychange", () => this.#tell());
    this.#tell();
  }

  disconnectedCallback() {
    this.#listening?.abort();
    clearTimeout(this.#timer);
  }

  async #tell() {
    if (document.hidden || this.#awaited) return;
    this.#awaited = true;
    if (!(await inTurn(() => claim(this.dataset.change)))) return this.remove();
    this.setAttribute("shown", "");
    const shown = document.querySelectorAll("payment-toast[shown]");
    if (shown.length > AT_ONCE) shown[0].remove();
    this.#fadeLater();
  }

  #fadeLater() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.remove(), SHOWN_MS);
  }
}

customElements.define("payment-toast", PaymentToast);
