// The refund form: buttons that fill in an amount, and the question whether the patient has to pay it again, which is
// asked only while the amount is more than what was paid too much. Without this script, people type the amount.

import { parseAmount } from "./amounts.js";

const form = document.querySelector("form.refund");

if (form) {
  const { amount } = form.elements;
  const question = form.querySelector("[data-above]");
  const ask = () => {
    if (question) question.hidden = parseAmount(amount.value, form.dataset.currency) <= Number(question.dataset.above);
  };
  for (const button of form.querySelectorAll("[data-amount]")) {
    button.parentElement.hidden = false;
    button.addEventListener("click", () => {
      amount.value = button.dataset.amount;
      amount.focus();
      ask();
    });
  }
  amount.addEventListener("input", ask);
  ask();
}
