// Shows the change to give back while the amount that the patient gave in cash is typed:
//   <div data-change-of="id_amount" data-currency="eur"> <input> <p hidden><output></output></p> </div>
// Without this script, the page after the form says it.

import { formatAmount, parseAmount } from "./amounts.js";

for (const element of document.querySelectorAll("[data-change-of]")) {
  const amount = document.getElementById(element.dataset.changeOf);
  const given = element.querySelector("input");
  const output = element.querySelector("output");
  const show = () => {
    const { currency } = element.dataset;
    const change = parseAmount(given.value, currency) - parseAmount(amount.value, currency);
    output.parentElement.hidden = !(change >= 0);
    output.textContent = change >= 0 ? formatAmount(change, currency) : "";
  };
  for (const input of [amount, given]) input.addEventListener("input", show);
  show();
}
