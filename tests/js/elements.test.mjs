import assert from "node:assert/strict";
import { mock, test } from "node:test";

mock.timers.enable({ apis: ["setTimeout"] });
const { append, defined } = await import("./elements.mjs");
await import("../../payments/static/payments/js/payment-toast.js");

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
