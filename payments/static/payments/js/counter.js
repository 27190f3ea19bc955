// The day list with one appointment beside it, the sheet. htmx swaps the sheet; this module keeps list and sheet together,
// notes arrivals, and keeps what is being typed.

import { isInUse } from "./in-use.js";

const PHONE = matchMedia("(max-width: 47.99rem)");
const MINUTE_MS = 60_000;
const stale = new Set(); // ids of parts that were not replaced because somebody uses them
let fromPerson = false; // whether a click or Enter opened the sheet, which then gets the focus; j and k leave it in the list
let sent = false; // whether a form of the sheet or of the dialog over it waits for its answer
let opened = document.getElementById("sheet")?.dataset.reference;

/** Return whether the mouse presses a link or a button of the sheet's part; a swap before the release would lose the click. */
const isPressed = (part) => part.closest(".sheet") !== null && part.querySelector("a:active, button:active") !== null;

const rowLink = (reference) => document.getElementById(`open-${reference}`);

/** Mark the row of the appointment that the sheet shows: the answer says which one it is. */
function followSheet(sheet) {
  for (const link of document.querySelectorAll(".who[aria-current]")) link.removeAttribute("aria-current");
  const { reference } = sheet.dataset;
  rowLink(reference)?.setAttribute("aria-current", "true");
  if (fromPerson) (reference ? sheet : (rowLink(opened) ?? sheet)).focus({ preventScroll: true });
  opened = reference;
}

/** Scroll the list so that the open appointment, or else the line that shows what time it is, stands in its middle. */
function scrollToStart() {
  const rows = document.querySelector(".rows");
  const start = document.querySelector(".who[aria-current]")?.closest(".row") ?? document.getElementById("now");
  if (!rows || !start || getComputedStyle(rows).overflowY !== "auto") return;
  rows.scrollTop += start.getBoundingClientRect().top - rows.getBoundingClientRect().top - rows.clientHeight / 2;
}

/** Put the line that shows what time it is before the next appointment, in the clinic's time. */
function moveNow() {
  const line = document.getElementById("now");
  const shown = line?.querySelector("time");
  if (!line) return;
  const elapsed = Math.floor((Date.now() - Date.parse(shown.dateTime)) / MINUTE_MS);
  shown.dataset.first ??= shown.textContent;
  const [hours, minutes] = shown.dataset.first.split(":").map(Number);
  const at = (hours * 60 + minutes + elapsed) % 1440;
  shown.textContent = [Math.floor(at / 60), at % 60].map((part) => String(part).padStart(2, "0")).join(":");
  const next = [...document.querySelectorAll(".row")].find((row) => row.dataset.start * 1000 > Date.now());
  if (next !== line.nextElementSibling) line.parentElement.insertBefore(line, next ?? null);
}

/** Note an arrival without leaving the page. All pages, this one too, then get the change. */
async function noteArrival(form, button) {
  const values = { [button.name]: button.value };
  const headers = { "HX-Boosted": "true" }; // a person pressed the button
  await window.htmx.ajax("POST", button.formAction, { source: form, values, headers, swap: "none" });
  const source = document.querySelector("live-source");
  if (!source.connected) source.refresh("arrival");
}

function showCopyButtons() {
  if (!navigator.clipboard) return;
  for (const button of document.querySelectorAll("[data-copy]")) button.hidden = false;
}

async function copy(button) {
  await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).value);
  button.lastElementChild.textContent = button.dataset.done;
}

/** Show the message that answers a form, and give the sheet the focus if the control that had it is gone. */
function showAnswer() {
  if (!sent) return;
  sent = false;
  const message = document.querySelector("#sheet-messages .notice");
  message?.scrollIntoView({ block: "nearest" });
  if (document.activeElement === document.body) document.getElementById("sheet")?.focus({ preventScroll: true });
}

/** Fetch the sheet's parts again once nobody uses those that were left as they are. */
function refreshStale() {
  if (!stale.size || [...stale].some((id) => document.getElementById(id) && isInUse(document.getElementById(id)))) return;
  stale.clear();
  document.querySelector(".person")?.dispatchEvent(new CustomEvent("payments:changed"));
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) copy(button);
  for (const menu of document.querySelectorAll("details.pop-up[open]")) menu.open = menu.contains(event.target);
  if (!event.target.closest(".rows .who, .sheet .shut, .scrim, .next a")) return;
  fromPerson = event.isTrusted;
  if (PHONE.matches) event.stopPropagation(); // on a phone an appointment is a page, so that Back finds the list's place
}, { capture: true });
document.addEventListener("submit", (event) => {
  sent ||= event.target.closest(".sheet, #dialog") !== null && event.target.getAttribute("method") !== "dialog";
  if (event.target.id !== "arrivals" || !window.htmx) return;
  event.preventDefault();
  noteArrival(event.target, event.submitter);
});
document.addEventListener("htmx:afterSwap", showCopyButtons);
document.addEventListener("htmx:afterSettle", ({ target, detail }) => {
  if (target.id === "sheet") followSheet(target); // only now, because htmx has bound the sheet's links: keys press them
  if (detail.requestConfig?.verb === "post") setTimeout(showAnswer); // after forms.js has focused an error
});
document.addEventListener("htmx:oobBeforeSwap", (event) => {
  if (!isInUse(event.detail.target) && !isPressed(event.detail.target)) return;
  event.detail.shouldSwap = false;
  stale.add(event.detail.target.id);
});
for (const name of ["focusout", "pointerup", "htmx:afterRequest"]) document.addEventListener(name, () => setTimeout(refreshStale));
document.addEventListener("htmx:historyRestore", () => {
  opened = document.getElementById("sheet")?.dataset.reference;
  scrollToStart();
});
document.addEventListener("htmx:historyCacheMissLoadError", () => location.reload()); // signed out meanwhile
setInterval(moveNow, MINUTE_MS / 4);
showCopyButtons();
scrollToStart();
