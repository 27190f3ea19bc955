class PaidCounter extends HTMLElement {
  #paid = new Set();
  #listening;

  connectedCallback() {
    this.#listening = new AbortController(); // a new one each time: the element may be moved, and an abort is for ever
    const { signal } = this.#listening;
    document.addEventListener("payment:confirmed", (event) => this.#count(event.detail.id), { signal });
  }

  disconnectedCallback() {
    this.#listening.abort();
  }

  #count(id) {
    this.#paid.add(id);
    this.querySelector("output").textContent = this.#paid.size;
  }
}

customElements.define("paid-counter", PaidCounter);
