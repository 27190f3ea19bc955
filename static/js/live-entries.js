// Puts feed entries into the page, and replaces its live regions when the entries are not enough.

const ANSWER_MS = 10000; // a broken connection never answers

/** Return whether an element of an entry has a place on this page that shows nothing as new yet. */
function belongsOnPage(element) {
  const swap = element.getAttribute("hx-swap-oob");
  if (swap === "true") {
    const shown = document.getElementById(element.id);
    return shown && element.id !== "live-cursor" && !(Number(shown.dataset.version) >= Number(element.dataset.version));
  }
  const place = document.querySelector(swap.slice(swap.indexOf(":") + 1));
  const item = element.firstElementChild;
  return place && item && !document.getElementById(item.id);
}

/** Swap in the entries after `source.cursor`, in order, and dispatch the events of those after `source.announced`. */
export function applyEntries(source, html) {
  const parsed = document.createElement("template");
  parsed.innerHTML = html;
  for (const entry of parsed.content.querySelectorAll("live-entry")) {
    const { seq, payment, status, day, practitioner, reviews, rebooked, confirmed } = entry.dataset;
    if (Number(seq) <= source.cursor) continue;
    for (const element of [...entry.children]) if (!belongsOnPage(element)) element.remove();
    window.htmx.swap(source, entry.innerHTML, { swapStyle: "none" });
    source.cursor = seq;
    if (Number(seq) <= source.announced) continue;
    source.announced = Number(seq);
    const region = document.getElementById(`payment-${payment}`) ?? source;
    const standing = { status, reviews: reviews?.split(" ").filter(Boolean) ?? [] };
    const detail = { id: payment, seq: Number(seq), ...standing, day, practitioner, rebooked: rebooked !== undefined };
    region.dispatchEvent(new CustomEvent("payment:updated", { detail, bubbles: true }));
    if (rebooked !== undefined && document.getElementById(`payment-${payment}-facts`)) source.reload();
    if (confirmed !== undefined) region.dispatchEvent(new CustomEvent("payment:confirmed", { detail, bubbles: true }));
  }
}

/** Load this page again and swap in its live regions. Return the page's new cursor and epoch, or null on failure. */
export async function fetchRegions() {
  const headers = { "HX-Request": "true" }; // htmx's header: what a page fetches by itself prolongs no session
  const options = { cache: "no-store", headers, signal: AbortSignal.timeout(ANSWER_MS) };
  const response = await fetch(location.href, options).catch(() => null);
  if (!response || response.status >= 500) return null; // don't replace the page with an error
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const cursor = page.getElementById("live-cursor");
  if (!cursor || response.status === 404) {
    location.reload(); // signed out meanwhile, or the page is gone or somebody else's now
    return null;
  }
  for (const shown of document.querySelectorAll("[data-live-region]")) {
    const fresh = page.getElementById(shown.id);
    if (fresh && !shown.parentElement.closest("[data-live-region]")) {
      window.htmx.swap(shown, fresh.outerHTML, { swapStyle: "outerHTML" });
    }
  }
  return { cursor: cursor.value, epoch: page.getElementById("live-epoch").value };
}
