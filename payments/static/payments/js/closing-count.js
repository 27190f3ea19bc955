// Computes while one types on the page that closes the till's day: what notes and coins add up to, how much each method
// differs from what is expected, and whether a reason is needed. Without this script, the page after the form says it.

import { formatAmount, parseAmount, typedAmount } from "./amounts.js";

const form = document.querySelector("form[data-closing]");

function signed(amount, currency) {
  return `${amount > 0 ? "+" : ""}${formatAmount(amount, currency)}`;
}

/** Return the amount that was typed, which may be negative, or NaN if it is none. */
function typed(input, currency) {
  const text = input.value.trim();
  return /^[-−]/.test(text) ? -parseAmount(text.slice(1), currency) : parseAmount(text, currency);
}

/** Show how a method differs in its cell; return whether it does. */
function show(cell, amount, currency) {
  const known = !Number.isNaN(amount);
  cell.textContent = known ? signed(amount, currency) : "";
  cell.className = known && amount ? "gap" : "even";
  return known && amount !== 0;
}

function method(row) {
  const { currency, expected } = row.dataset;
  return show(row.querySelector("output"), typed(row.querySelector("input"), currency) - Number(expected), currency);
}

function drawer(card) {
  const { currency, net, before } = card.dataset;
  const [opening, counted] = ["opening", "counted"].map((name) => form.elements[`${name}_${currency}`]);
  const expected = typed(opening, currency) + Number(net);
  card.querySelector("[data-expected-cash]").textContent = Number.isNaN(expected) ? "" : formatAmount(expected, currency);
  const found = typed(counted, currency) - typed(opening, currency);
  const cell = document.querySelector(`[data-cash-found="${currency}"]`);
  cell.textContent = Number.isNaN(found) ? "" : formatAmount(found, currency);
  const differs = show(document.querySelector(`[data-cash-gap="${currency}"]`), found - Number(net), currency);
  return differs || typed(opening, currency) !== Number(before);
}

/** Fill in what the notes and coins of the drawer add up to. */
function count(card) {
  const { currency } = card.dataset;
  let sum = 0;
  for (const input of card.querySelectorAll("[data-piece] input")) {
    const value = Number(input.closest("[data-piece]").dataset.piece) * (Number(input.value) || 0);
    input.closest("[data-piece]").querySelector("output").textContent = value ? formatAmount(value, currency) : "";
    sum += value;
  }
  form.elements[`counted_${currency}`].value = typedAmount(sum, currency);
}

function update() {
  const methods = [...form.querySelectorAll("[data-expected]")].map(method);
  const drawers = [...form.querySelectorAll("[data-drawer]")].map(drawer);
  const reason = form.querySelector("[data-reason]");
  reason.hidden = ![...methods, ...drawers].some(Boolean) && !reason.querySelector(".field-error");
}

if (form) {
  form.addEventListener("input", ({ target }) => {
    if (target.closest("[data-piece]")) count(target.closest("[data-drawer]"));
    update();
  });
  update();
}
