// Shows the buttons that print the page, which the server renders hidden, because they need this script.

function show() {
  for (const button of document.querySelectorAll("[data-print][hidden]")) button.hidden = false;
}

document.addEventListener("click", ({ target }) => target.closest?.("[data-print]") && window.print());
document.addEventListener("htmx:load", show);
show();
