class PaidCounter extends HTMLElement {
  #paid = new Set();
  #listening = new AbortController();

  connectedCallback() {
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
