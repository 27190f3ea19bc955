// What the server says of payments, put in its place on the page: by push, by poll and by reading the page again.

const ANSWER_MS = 10000; // a dead line never answers

/** Whether an element of an entry has a place on this page, and says something newer than what is there. */
function wanted(element) {
  const swap = element.getAttribute("hx-swap-oob");
  if (swap === "true") {
    const shown = document.getElementById(element.id);
    return shown && element.id !== "live-cursor" && !(Number(shown.dataset.version) >= Number(element.dataset.version));
  }
  const place = document.querySelector(swap.slice(swap.indexOf(":") + 1));
  const item = element.firstElementChild;
  return place && item && !document.getElementById(item.id);
}

/** Swap in the entries after `source.cursor`, in order; tell the page's scripts of those after `source.told`. */
export function applyEntries(source, html) {
  const parsed = document.createElement("template");
  parsed.innerHTML = html;
  for (const entry of parsed.content.querySelectorAll("live-entry")) {
    const { seq, payment, status, day, practitioner, reviews, rebooked, confirmed } = entry.dataset;
    if (Number(seq) <= source.cursor) continue;
    for (const element of [...entry.children]) if (!wanted(element)) element.remove();
    window.htmx.swap(source, entry.innerHTML, { swapStyle: "none" });
    source.cursor = seq;
    if (Number(seq) <= source.told) continue;
    source.told = Number(seq);
    const region = document.getElementById(`payment-${payment}`) ?? source;
    const standing = { status, reviews: reviews?.split(" ").filter(Boolean) ?? [] };
    const detail = { id: payment, seq: Number(seq), ...standing, day, practitioner, rebooked: rebooked !== undefined };
    region.dispatchEvent(new CustomEvent("payment:updated", { detail, bubbles: true }));
    if (confirmed !== undefined) region.dispatchEvent(new CustomEvent("payment:confirmed", { detail, bubbles: true }));
  }
}

/** Put this page's live regions as they are now in place of what is shown. Returns their cursor, null on failure. */
export async function fetchRegions() {
  const headers = { "HX-Request": "true" }; // as htmx does: what a page asks by itself prolongs no session
  const options = { cache: "no-store", headers, signal: AbortSignal.timeout(ANSWER_MS) };
  const response = await fetch(location.href, options).catch(() => null);
  if (!response || response.status >= 500) return null; // to load the page now would put an error in its place
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const cursor = page.getElementById("live-cursor");
  if (!cursor) {
    location.reload(); // signed out meanwhile, or the page is gone
    return null;
  }
  for (const shown of document.querySelectorAll("[data-live-region]")) {
    const fresh = page.getElementById(shown.id);
    if (fresh && !shown.parentElement.closest("[data-live-region]")) {
      window.htmx.swap(shown, fresh.outerHTML, { swapStyle: "outerHTML" });
    }
  }
  return cursor.value;
}
