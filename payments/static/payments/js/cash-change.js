// Shows the change to give back while the amount that the patient gave in cash is typed:
//   <div data-change-of="id_amount" data-currency="eur"> <input> <p hidden><output></output></p> </div>
// Without this script, the page after the form says it.

import { formatAmount, parseAmount } from "./amounts.js";

function show() {
  for (const element of document.querySelectorAll("[data-change-of]")) {
    const { currency, changeOf } = element.dataset;
    const amount = parseAmount(document.getElementById(changeOf).value, currency);
    const change = parseAmount(element.querySelector("input").value, currency) - amount;
    const output = element.querySelector("output");
    output.parentElement.hidden = !(change >= 0);
    output.textContent = change >= 0 ? formatAmount(change, currency) : "";
  }
}

document.addEventListener("input", show);
document.addEventListener("htmx:load", show);
show();
