// Whether single keys are shortcuts in this browser: who dictates, or hits keys by accident, can switch them off.
// <shortcut-switch> is the switch. A cookie remembers it, because signing out clears all other storage.

const YEAR = 365 * 24 * 60 * 60; // seconds
const OFF = "shortcuts=off";

export const shortcutsOn = () => !document.cookie.split("; ").includes(OFF);

class ShortcutSwitch extends HTMLElement {
  connectedCallback() {
    const toggle = this.querySelector("input");
    this.hidden = false;
    toggle.checked = shortcutsOn();
    toggle.addEventListener("change", () => {
      const secure = location.protocol === "https:" ? "; secure" : "";
      document.cookie = `${OFF}; path=/; samesite=strict; max-age=${toggle.checked ? 0 : YEAR}${secure}`;
    });
  }
}

customElements.define("shortcut-switch", ShortcutSwitch);
