// The refund form asks whether the patient has to pay the amount again only while the amount is more than what was paid
// too much. Without this script it always asks.

import { parseAmount } from "./amounts.js";

const form = document.querySelector("form.refund");
const question = form?.querySelector("[data-above]");

if (question) {
  const { amount } = form.elements;
  const ask = () => {
    question.hidden = parseAmount(amount.value, form.dataset.currency) <= Number(question.dataset.above);
  };
  amount.addEventListener("input", ask);
  ask();
}
