// Keyboard shortcuts of the day list: "/" searches, "j" and "k" or the arrows move between rows and open them beside the
// list, a digit chooses the way to pay, "n" opens the form for a new appointment, "?" shows the shortcuts. Enter opens the
// focused row, because the focus is on its link.

import { shortcutsOn } from "./shortcuts.js";

const SPLIT = matchMedia("(min-width: 68.75rem)"); // wide enough for the list and an appointment
const SETTLED_MS = 150; // from the last move to opening the row, so that a held key opens only the last one
let opening;
let chosenByKey = false; // whether a digit chose the way to pay whose panel comes next

const help = () => document.getElementById("keys");
const rows = () => [...document.querySelectorAll(".rows .who")];

function move(step) {
  const links = rows();
  const focused = links.indexOf(document.activeElement);
  const at = focused < 0 ? links.findIndex((link) => link.hasAttribute("aria-current")) : focused;
  const next = at < 0 ? (step > 0 ? 0 : links.length - 1) : Math.min(Math.max(at + step, 0), links.length - 1);
  links[next]?.focus();
  if (links[next] && SPLIT.matches) opening = setTimeout(() => links[next].click(), SETTLED_MS);
}

function noteArrival() {
  const link = document.activeElement.matches(".who") ? document.activeElement : document.querySelector(".who[aria-current]");
  if (link) document.getElementById(`arrive-${link.dataset.reference}`)?.click();
}

const ACTIONS = {
  "/": () => document.getElementById("filter-q").focus(),
  j: () => move(1),
  k: () => move(-1),
  a: noteArrival,
  n: () => document.querySelector(".day-top .new")?.click(),
  Escape: () => document.querySelector(".sheet .shut")?.click(),
  "?": () => help().showModal(),
};
function choose(number) {
  const way = document.querySelectorAll(".ways-row a")[number - 1];
  chosenByKey = Boolean(way);
  way?.click();
}

/** Focus the first field of the way to pay that a digit chose, so that the next keys fill it in. */
function enterPanel() {
  if (!chosenByKey) return;
  chosenByKey = false;
  const field = document.querySelector(".collecting input:not([type=hidden])");
  field?.focus();
  field?.select();
}

for (const number of [1, 2, 3, 4, 5, 6, 7]) ACTIONS[number] = () => choose(number);
const ARROWS = { ArrowDown: 1, ArrowUp: -1 };

const showButton = () => document.querySelector("[data-help]")?.removeAttribute("hidden");

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, select, textarea, dialog");
  clearTimeout(opening); // whatever comes next decides what is opened
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key.length === 1 && !shortcutsOn()) return; // Escape and the arrows always work
  const arrow = !event.target.closest(".sheet") && ARROWS[event.key]; // in the sheet, arrows scroll
  if (!arrow && !(event.key in ACTIONS)) return;
  event.preventDefault();
  if (arrow) move(arrow);
  else ACTIONS[event.key]();
});
document.addEventListener("click", (event) => {
  clearTimeout(opening);
  if (event.target.closest("[data-help]")) help().showModal();
});
document.addEventListener("htmx:afterSwap", showButton);
document.addEventListener("htmx:afterSettle", ({ detail }) => {
  if (detail.requestConfig?.elt.matches(".ways-row a")) enterPanel();
});
showButton();
