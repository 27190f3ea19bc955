// Puts feed entries into the page, and replaces its live regions when the entries are not enough.
//
// Entries are marked with htmx's `hx-swap-oob`, so that htmx alone can show what it polls where this module never loads.
// Here they are placed without htmx, whose swap takes longer than all the rest of a change.

import { isInUse } from "./in-use.js";

const ANSWER_MS = 10000; // a broken connection never answers
const FOR_HTMX = /[\s-]hx-(?!swap-oob)/; // an attribute that htmx has to know of
const TOASTS = "#toasts";
const RECOGNIZED_BY = ["id", "href", "form"]; // attributes that tell which control has taken the place of another

/** Run `swap`, which replaces the element `shown` by one with its id. If the focus was inside, it stays inside. */
function keepFocus(shown, swap) {
  const focused = document.activeElement;
  const inside = shown.contains(focused);
  swap();
  if (!inside || shown.isConnected || document.activeElement !== document.body) return;
  const fresh = document.getElementById(shown.id);
  const known = RECOGNIZED_BY.filter((name) => focused.getAttribute(name));
  const selectors = known.map((name) => `${focused.localName}[${name}="${CSS.escape(focused.getAttribute(name))}"]`);
  const successor = selectors.map((selector) => fresh.querySelector(selector)).find(Boolean);
  if (!successor) fresh.tabIndex = -1; // no other control gets the focus, because Enter would then do something else
  (successor ?? fresh).focus({ preventScroll: true });
}

/** Append the first child of an entry's element to the place that the element names, unless it is there already. */
function append(element, selector) {
  const place = document.querySelector(selector);
  const item = element.firstElementChild;
  if (!place || !item || document.getElementById(item.id)) return null;
  place.append(item);
  return item;
}

/** Replace the page's element with this element's id, unless the page has none or shows this version already. */
function replace(element) {
  const shown = document.getElementById(element.id);
  if (!shown || Number(shown.dataset.version) >= Number(element.dataset.version)) return null;
  element.removeAttribute("hx-swap-oob");
  keepFocus(shown, () => shown.replaceWith(element));
  return element;
}

/** Put an element of an entry into the page if it has a place there. `forHtmx` tells whether htmx has to process it. */
function place(element, forHtmx) {
  const [swap, selector] = element.getAttribute("hx-swap-oob").split(":");
  const put = () => {
    const placed = swap === "true" ? replace(element) : append(element, selector);
    if (placed && forHtmx) window.htmx.process(placed);
  };
  if (selector === TOASTS) setTimeout(put); // in the next task, so that the change itself is shown first
  else put();
}

/**
 * Show the entries after `source.cursor`, in order, up to the first that is missing, and dispatch the events of those
 * after `source.announced`.
 */
export function applyEntries(source, html) {
  const parsed = document.createElement("template");
  parsed.innerHTML = html;
  const forHtmx = FOR_HTMX.test(html);
  for (const entry of parsed.content.querySelectorAll("live-entry")) {
    const { seq, payment, status, day, practitioner, reviews, rebooked, confirmed, news } = entry.dataset;
    if (Number(seq) <= source.cursor) continue;
    if (Number(seq) > source.cursor + 1) return; // an older fragment has come since these entries were requested
    for (const element of [...entry.children]) place(element, forHtmx);
    source.cursor = seq;
    if (rebooked !== undefined && document.getElementById(`payment-${payment}-facts`)) source.reload();
    if (Number(seq) <= source.announced) continue;
    source.announced = Number(seq);
    const region = document.getElementById(`payment-${payment}`) ?? source;
    const standing = { status, reviews: reviews?.split(" ").filter(Boolean) ?? [] };
    const flags = { rebooked: rebooked !== undefined, news: news !== undefined };
    const detail = { id: payment, seq: Number(seq), ...standing, day, practitioner, ...flags };
    region.dispatchEvent(new CustomEvent("payment:updated", { detail, bubbles: true }));
    if (confirmed !== undefined) region.dispatchEvent(new CustomEvent("payment:confirmed", { detail, bubbles: true }));
  }
}

/**
 * Load this page again and swap in its live regions, but none that somebody uses. Return the page's new cursor
 * and epoch, or null on failure.
 */
export async function fetchRegions() {
  const address = location.href;
  const headers = { "HX-Request": "true" }; // htmx's header: what a page fetches by itself prolongs no session
  const options = { cache: "no-store", headers, signal: AbortSignal.timeout(ANSWER_MS) };
  const response = await fetch(address, options).catch(() => null);
  if (!response || response.status >= 500) return null; // don't replace the page with an error
  if (location.href !== address) return fetchRegions(); // another appointment was opened meanwhile
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const cursor = page.getElementById("live-cursor");
  if (!cursor || response.status === 404) {
    location.reload(); // signed out meanwhile, or the page is gone or somebody else's now
    return null;
  }
  for (const shown of document.querySelectorAll("[data-live-region]")) {
    const fresh = page.getElementById(shown.id);
    if (fresh && !shown.parentElement.closest("[data-live-region]") && !isInUse(shown)) {
      keepFocus(shown, () => window.htmx.swap(shown, fresh.outerHTML, { swapStyle: "outerHTML" }));
    }
  }
  return { cursor: cursor.value, epoch: page.getElementById("live-epoch").value };
}
