// The day list by keyboard: "/" searches, "j" and "k" walk the rows, "?" shows the keys. Enter follows the row's link.

const help = document.getElementById("keys");
const rows = () => [...document.querySelectorAll("table.day .who a")];

function walk(step) {
  const links = rows();
  const at = links.indexOf(document.activeElement);
  const next = at < 0 ? (step > 0 ? 0 : links.length - 1) : Math.min(Math.max(at + step, 0), links.length - 1);
  links[next]?.focus();
}

const ACTIONS = {
  "/": () => document.getElementById("filter-q").focus(),
  j: () => walk(1),
  k: () => walk(-1),
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
