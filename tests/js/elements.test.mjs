import assert from "node:assert/strict";
import { mock, test } from "node:test";

mock.timers.enable({ apis: ["setTimeout"] });
const { announce, append, defined, Element } = await import("./elements.mjs");
await import("../../payments/static/payments/js/paid-counter.js");
await import("../../payments/static/payments/js/payment-toast.js");

test("a counter that was moved within the page goes on counting, each payment once", () => {
  const counter = append(new defined["paid-counter"]());
  const output = (counter.children.output = new Element());
  announce("payment:confirmed", { id: "p1" });
  counter.remove();
  announce("payment:confirmed", { id: "p2" });
  append(counter);
  announce("payment:confirmed", { id: "p3" });
  announce("payment:confirmed", { id: "p3" });
  assert.equal(output.textContent, 2);
});

test("a toast that was moved within the page can still be dismissed, and fades", () => {
  for (const leave of [(toast) => toast.dispatchEvent(Object.assign(new Event("keydown"), { key: "Escape" })),
    () => mock.timers.tick(20_000)]) {
    const toast = new defined["payment-toast"]();
    toast.setAttribute("shown", "");
    append(toast).remove();
    append(toast);
    assert.ok(toast.isConnected);
    leave(toast);
    assert.ok(!toast.isConnected);
  }
});
