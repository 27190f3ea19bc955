// The refund form asks whether the patient has to pay the amount again only while the amount is more than what was paid
// too much. Without this script it always asks.

import { parseAmount } from "./amounts.js";

function ask() {
  for (const question of document.querySelectorAll("form.refund [data-above]")) {
    const { form } = question;
    const amount = parseAmount(form.elements.amount.value, form.dataset.currency);
    question.hidden = amount <= Number(question.dataset.above);
  }
}

document.addEventListener("input", ask);
document.addEventListener("htmx:load", ask);
ask();
