// As much of a browser as small custom elements touch. Import it before the module under test.

export const page = new EventTarget();
const shown = new Set(); // elements in the page

/** An element with attributes, data-* attributes as `dataset`, classes, and children found by exact selector. */
export class Element extends EventTarget {
  id = "";
  dataset = {};
  textContent = "";
  attributes = new Map();
  children = {};
  classes = new Set();
  classList = { contains: (name) => this.classes.has(name) };
  querySelector = (selector) => this.children[selector] ?? null;
  hasAttribute = (name) => this.attributes.has(name);
  setAttribute = (name, value) => this.attributes.set(name, value);
  matches = () => false; // nothing has the focus
  get isConnected() {
    return shown.has(this);
  }
  remove() {
    shown.delete(this);
    this.disconnectedCallback?.();
  }
}

export function append(element) {
  shown.add(element);
  element.connectedCallback?.();
  return element;
}

export const defined = {}; // custom elements by name
const memory = new Map();
globalThis.HTMLElement = Element;
globalThis.customElements = { define: (name, constructor) => (defined[name] = constructor) };
globalThis.localStorage = { getItem: (key) => memory.get(key) ?? null, setItem: (key, value) => memory.set(key, value) };
globalThis.document = Object.assign(page, {
  hidden: false,
  getElementById: (id) => [...shown].find((element) => element.id === id) ?? null,
  querySelectorAll: (selector) => [...shown].filter((element) => selector === "[data-refresh-ms]" && element.dataset.refreshMs),
});

export const announce = (name, detail) => page.dispatchEvent(new CustomEvent(name, { detail }));
