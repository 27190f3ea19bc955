import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";

mock.timers.enable({ apis: ["setTimeout"] });
const { announce, append, Element } = await import("./elements.mjs");
await import("../../payments/static/payments/js/refresh-on-change.js");

let changes = 0;
const change = (id = "p1") => {
  changes += 1;
  announce("payment:updated", { id });
};

/** An element of the page; `fetched` has the number of changes at each of its refreshes. */
function part(id, dataset, fetched = []) {
  const element = Object.assign(new Element(), { id, dataset });
  element.addEventListener("payments:changed", () => fetched.push(changes));
  return append(Object.assign(element, { fetched }));
}

beforeEach(() => {
  mock.timers.runAll();
  changes = 0;
});

test("ten changes a second for five seconds refresh each second, and the last change is shown", () => {
  const tabs = part("tabs", { refreshMs: "1000" });
  for (let tick = 0; tick < 50; tick += 1) {
    change();
    mock.timers.tick(100);
  }
  assert.ok(tabs.fetched.length >= 4 && tabs.fetched.length <= 6, `refreshed ${tabs.fetched.length} times`);
  mock.timers.tick(1000);
  assert.equal(tabs.fetched.at(-1), 50);
  mock.timers.tick(60_000);
  assert.ok(tabs.fetched.length <= 6, "without changes nothing is fetched");
  tabs.remove();
});

test("the timeline of one payment fetches nothing when another changes", () => {
  const timeline = part("timeline", { refreshMs: "4000", refreshPayment: "p1" });
  change("p2");
  mock.timers.tick(10_000);
  assert.deepEqual(timeline.fetched, []);
  change("p1");
  mock.timers.tick(4000);
  assert.deepEqual(timeline.fetched, [2]);
  timeline.remove();
});

test("an element that was swapped out meanwhile leaves the refresh to its successor", () => {
  const old = part("tabs", { refreshMs: "1000" });
  change();
  old.remove();
  const successor = part("tabs", { refreshMs: "1000" });
  mock.timers.tick(1000);
  assert.deepEqual([old.fetched, successor.fetched], [[], [1]]);
  successor.remove();
});

test("a change during a request is fetched by another request after it", () => {
  const tabs = part("tabs", { refreshMs: "1000" });
  tabs.classes.add("htmx-request");
  change();
  mock.timers.tick(2500);
  assert.deepEqual(tabs.fetched, []);
  tabs.classes.clear();
  mock.timers.tick(1000);
  assert.deepEqual(tabs.fetched, [1]);
  tabs.remove();
});
