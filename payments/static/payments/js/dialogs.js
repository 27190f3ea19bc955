// Pages that a link loads into <dialog id="dialog">, such as a refund. The server answers a form that has done its work
// with the sheet, at which the dialog closes.

const dialog = () => document.getElementById("dialog");

document.addEventListener("htmx:afterSwap", ({ detail }) => {
  const shown = dialog();
  if (!shown || detail.target !== shown) return;
  shown.ariaLabel = shown.querySelector("h1")?.textContent ?? "";
  if (!shown.open) shown.showModal();
  // A question without a field gets the focus itself, so that Enter answers nothing by accident.
  const first = shown.querySelector("[autofocus], article input:not([type=hidden])") ?? shown.querySelector("h1");
  if (first?.localName === "h1") first.tabIndex = -1;
  first?.focus();
});
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  if (detail.target.id === "sheet" && dialog()?.open) dialog().close();
});
document.addEventListener("htmx:responseError", ({ detail }) => {
  if (detail.target !== dialog() || detail.xhr.status === 401) return;
  location.assign(detail.pathInfo.requestPath); // the page itself says what is wrong
});
document.addEventListener("click", (event) => {
  const closes = event.target.closest("#dialog [data-closes]");
  if (event.target !== dialog() && !closes) return;
  event.preventDefault();
  event.stopPropagation(); // else htmx would follow the link
  dialog().close();
}, { capture: true });
document.addEventListener("close", ({ target }) => {
  if (target === dialog() && !target.querySelector("form.htmx-request")) target.replaceChildren(); // see in-use.js
}, { capture: true });
