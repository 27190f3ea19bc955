// Shows the buttons that print the page, which the server renders hidden, because they need this script.

for (const button of document.querySelectorAll("[data-print]")) {
  button.hidden = false;
  button.addEventListener("click", () => window.print());
}
