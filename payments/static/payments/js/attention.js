// Tells staff of news while they look at something else: a number in the tab's title, a dot on its icon and, for those
// who switched <desk-notifications> on, a notification on the desktop.

const STORE = "payments.desk-notifications";
let missed = 0;

function show() {
  const title = document.title.replace(/^\(\d+\) /, "");
  document.title = missed ? `(${missed}) ${title}` : title;
  const icon = document.querySelector("link[rel=icon]");
  icon.dataset.plain ??= icon.getAttribute("href");
  icon.href = missed ? icon.dataset.badge : icon.dataset.plain;
}

class DeskNotifications extends HTMLElement {
  #listening;

  connectedCallback() {
    if (!("Notification" in window)) return;
    this.hidden = false;
    const toggle = this.querySelector("input");
    toggle.checked = Notification.permission === "granted" && localStorage.getItem(STORE) === "on";
    this.#listening = new AbortController();
    const { signal } = this.#listening;
    toggle.addEventListener("change", async () => {
      const allowed = toggle.checked && (await Notification.requestPermission()) === "granted";
      toggle.checked = allowed;
      localStorage.setItem(STORE, allowed ? "on" : "off");
    }, { signal });
    document.addEventListener("htmx:afterSwap", ({ detail }) => {
      if (detail.target?.id === "news" && document.hidden && toggle.checked) this.#notify(detail.target);
    }, { signal });
  }

  disconnectedCallback() {
    this.#listening?.abort();
  }

  #notify(news) {
    const line = news.querySelector("[data-news]"); // its number keeps two tabs from saying it twice
    if (line) new Notification(line.querySelector("a").textContent, { tag: line.dataset.news });
  }
}

document.addEventListener("payment:updated", ({ detail }) => {
  if (!document.hidden || !detail.news) return;
  missed += 1;
  show();
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden || !missed) return;
  missed = 0;
  show();
});

customElements.define("desk-notifications", DeskNotifications);
