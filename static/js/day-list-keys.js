// Keyboard shortcuts of the day list: "/" searches, "j" and "k" move between rows, "?" shows the shortcuts. Enter opens
// the focused row, because the focus is on its link.

const help = document.getElementById("keys");
const rows = () => [...document.querySelectorAll("table.day .who a")];

function move(step) {
  const links = rows();
  const at = links.indexOf(document.activeElement);
  const next = at < 0 ? (step > 0 ? 0 : links.length - 1) : Math.min(Math.max(at + step, 0), links.length - 1);
  links[next]?.focus();
}

const ACTIONS = {
  "/": () => document.getElementById("filter-q").focus(),
  j: () => move(1),
  k: () => move(-1),
  "?": () => help.showModal(),
};

const showButton = () => document.querySelector("[data-help]")?.removeAttribute("hidden");

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, select, textarea, dialog");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || !(event.key in ACTIONS)) return;
  event.preventDefault();
  ACTIONS[event.key]();
});
document.addEventListener("click", (event) => event.target.closest("[data-help]") && help.showModal());
document.addEventListener("htmx:afterSwap", showButton);
showButton();
