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

/** Remove all toasts that match `selector` but the newest, and one that somebody has the focus in. */
function keepNewest(selector) {
  for (const toast of [...document.querySelectorAll(`${selector}:not(:focus-within)`)].slice(0, -AT_ONCE)) toast.remove();
}

/** Return how much these toasts cover of these elements: the sum of the heights in pixels. */
function covered(toasts, elements) {
  const overlap = (toast, element) => {
    const [above, below] = [toast.getBoundingClientRect(), element.getBoundingClientRect()];
    const beside = below.right <= above.left || below.left >= above.right;
    return beside ? 0 : Math.max(0, Math.min(above.bottom, below.bottom) - Math.max(above.top, below.top));
  };
  return toasts.flatMap((toast) => elements.map((element) => overlap(toast, element))).reduce((sum, px) => sum + px, 0);
}

/** Move the toasts to the other end of the window if they cover less there of the payments that they announce. */
function makeRoom() {
  const toasts = [...document.querySelectorAll("payment-toast[shown]")];
  const ids = toasts.map((toast) => `payment-${toast.dataset.payment}`).flatMap((id) => [id, `${id}-actions`]);
  const told = ids.map((id) => document.getElementById(id)).filter(Boolean);
  const here = covered(toasts, told);
  if (!here) return;
  const place = document.getElementById("toasts");
  place.classList.toggle("at-top");
  if (covered(toasts, told) >= here) place.classList.toggle("at-top");
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
  #before = null; // what had the focus before somebody moved it into the toast

  connectedCallback() {
    this.#listening = new AbortController();
    const on = (target, name, hear) => target.addEventListener(name, hear, { signal: this.#listening.signal });
    on(this, "click", (event) => event.target.closest("button") && this.#dismiss());
    on(this, "keydown", (event) => event.key === "Escape" && this.#dismiss());
    on(this, "pointerenter", () => clearTimeout(this.#timer));
    on(this, "focusin", (event) => this.#hold(event.relatedTarget));
    on(document, "scroll", makeRoom);
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
    makeRoom();
    this.#fadeLater();
  }

  #hold(before) {
    clearTimeout(this.#timer);
    if (before && !before.closest("payment-toast")) this.#before = before;
  }

  /** Remove the toast, and give the focus back to where it was. */
  #dismiss() {
    const focused = this.matches(":focus-within");
    this.remove();
    if (!focused) return;
    const main = document.getElementById("main");
    main.tabIndex = -1;
    (this.#before?.isConnected ? this.#before : main).focus({ preventScroll: true });
  }

  #fadeLater() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.remove(), SHOWN_MS);
  }
}

customElements.define("payment-toast", PaymentToast);
