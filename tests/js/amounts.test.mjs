import assert from "node:assert/strict";
import { test } from "node:test";

globalThis.document = { documentElement: { lang: "fr" } };
const { formatAmount, parseAmount } = await import("../../payments/static/payments/js/amounts.js");

test("an amount is read as people type it in French, in minor units of its currency", () => {
  for (const [text, currency, minor] of [
    ["12,50", "eur", 1250],
    ["12.5", "eur", 1250],
    ["1 234,50", "eur", 123450],
    ["0,29", "eur", 29],
    ["5000", "jpy", 5000],
    ["12,345", "kwd", 12345],
  ]) {
    assert.equal(parseAmount(text, currency), minor, text);
  }
});

test("what isn't an amount is none", () => {
  for (const text of ["", "x", "-5", "1,5,0", "1e3", ","]) assert.ok(Number.isNaN(parseAmount(text, "eur")), text);
});

test("an amount is shown as French pages show it", () => {
  assert.equal(formatAmount(1250, "eur"), "12,50\u00a0€");
});
