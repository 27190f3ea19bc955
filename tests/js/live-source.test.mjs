import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: 1_000_000 });
const { answer, entries, entry, FakeSocket, fragment, openPage, page, polls, socket, state, told } = await import("./dom.mjs");
const hello = (seq, epoch = "e1") => ({ t: "hello", seq, epoch, hb: 10 });
const beat = (seq, epoch = "e1") => ({ t: "hb", seq, epoch });
const pass = (seconds) => {
  for (let tick = 0; tick < seconds * 10; tick += 1) mock.timers.tick(100);
};
let source;

beforeEach(() => {
  source = openPage(5);
});
afterEach(() => source.disconnectedCallback());

test("the socket says where the page stands, and only hello makes it connected", () => {
  assert.equal(socket().url.href, "ws://clinic.example/ws/payments/?feed=staff&lang=fr&epoch=e1&after=5");
  assert.equal(state(), "connecting");
  socket().says(entry(6));
  assert.equal(state(), "connecting");
  socket().says(hello(6));
  assert.equal(state(), "connected");
  assert.ok(source.connected);
  assert.deepEqual(told, [6]);
});

test("what was told before is dropped, what is missing is asked for", () => {
  socket().says(hello(5));
  for (const seq of [6, 6, 4, 7]) socket().says(entry(seq));
  assert.deepEqual(told, [6, 7]);
  assert.deepEqual(source.asked, []);
  socket().says(entry(9));
  assert.deepEqual(told, [6, 7]);
  assert.deepEqual(source.asked, ["gap"]);
  answer(source, 200, entries(7, 8, 9), { "X-Live-Seq": "9" });
  assert.deepEqual(told, [6, 7, 8, 9]);
});

test("a beat with a newer number, and a hello with an older one, are asked about", () => {
  socket().says(hello(5));
  socket().says(beat(6));
  assert.deepEqual(source.asked, ["gap"]);
  socket().says(hello(2));
  assert.deepEqual(source.asked, ["gap", "gap"]);
});

test("an answer that comes late changes nothing", () => {
  socket().says(hello(5));
  socket().says(entry(6));
  answer(source, 200, entries(6), { "X-Live-Seq": "6" });
  assert.deepEqual(told, [6]);
  assert.equal(source.cursor, 6);
});

test("polls are vetoed while connected, except requested ones", () => {
  assert.ok(polls(source));
  socket().says(hello(5));
  assert.ok(!polls(source));
  assert.ok(polls(source, "live:refresh"));
  socket().ends();
  assert.ok(polls(source));
});

test("it comes back after 1.5 to 4.5 s, later more slowly, for ever", () => {
  const delays = [];
  for (let loss = 0; loss < 40; loss += 1) {
    socket().ends(1006);
    delays.push(source.losses.at(-1).delay);
    pass(Math.ceil(delays.at(-1) / 1000) + 1);
  }
  assert.equal(FakeSocket.all.length, 41);
  assert.ok(delays.slice(0, 6).every((delay) => delay >= 1500 && delay <= 4500));
  assert.ok(delays.every((delay) => delay <= 45000));
  assert.ok(delays.slice(-20).every((delay) => delay >= 15000));
  const { searchParams } = socket().url;
  assert.equal(searchParams.get("try"), "40");
  assert.equal(searchParams.get("why"), "closed");
  assert.equal(searchParams.get("code"), "1006");
});

test("the third failure makes it say that it polls, and asks at once", () => {
  socket().says(hello(5));
  const states = [];
  for (let loss = 0; loss < 3; loss += 1) {
    socket().ends();
    states.push(state());
    pass(5);
  }
  assert.deepEqual(states, ["reconnecting", "reconnecting", "polling"]);
  assert.deepEqual(source.asked, ["closed"]);
  socket().says(hello(5));
  socket().ends();
  assert.equal(state(), "reconnecting");
});

test("a socket whose beat is late has to prove itself, and is replaced at once if it can't", () => {
  socket().says(hello(5));
  pass(12);
  assert.deepEqual(socket().sent, ["ping"]);
  socket().says(beat(5));
  pass(9);
  assert.equal(FakeSocket.all.length, 1);
  pass(5);
  assert.equal(state(), "reconnecting");
  assert.equal(FakeSocket.all.length, 2);
  assert.equal(socket().url.searchParams.get("why"), "stale");
});

test("a message that the page doesn't know proves nothing", () => {
  socket().says(hello(5));
  const provenAt = source.provenAt;
  const strange = [{ t: "news", seq: 5, epoch: "e1" }, {}, { seq: 6 }, { html: "<p>" }, null, 5, { t: "hb" }, "not JSON"];
  for (const message of [...strange, { ...entry(6), html: 7 }, { ...entry(6), epoch: undefined }]) {
    pass(1);
    if (message === "not JSON") socket().onmessage({ data: message });
    else socket().says(message);
    assert.equal(source.provenAt, provenAt);
  }
  assert.deepEqual(told, []);
  assert.equal(source.cursor, 5);
  pass(2);
  assert.deepEqual(socket().sent, ["ping"]); // the socket's beat is late, whatever else came
});

test("a hello that never comes is waited for 15 s", () => {
  socket().readyState = FakeSocket.OPEN;
  pass(14);
  assert.equal(state(), "connecting");
  pass(3);
  assert.equal(source.losses[0].why, "timeout");
});

test("beats keep it for hours", () => {
  socket().says(hello(5));
  for (let beats = 0; beats < 1000; beats += 1) {
    pass(10);
    socket().says(beat(5));
  }
  assert.equal(FakeSocket.all.length, 1);
  assert.ok(Date.now() - source.provenAt < 1000);
});

test("an opening that never ends is given up after 8 s", () => {
  pass(10);
  assert.equal(source.losses[0].why, "timeout");
});

test("a laptop that slept proves its socket when it wakes", () => {
  socket().says(hello(5));
  page.dispatchEvent(new Event("visibilitychange"));
  assert.deepEqual(socket().sent, ["ping"]);
  socket().says(beat(5));
  pass(4);
  assert.equal(FakeSocket.all.length, 1);
  page.dispatchEvent(new Event("visibilitychange"));
  pass(4);
  assert.equal(FakeSocket.all.length, 2);
  assert.equal(socket().url.searchParams.get("why"), "probe");
});

test("offline rests, online reconnects at once", () => {
  socket().says(hello(5));
  window.dispatchEvent(new Event("offline"));
  assert.equal(state(), "offline");
  pass(60);
  assert.equal(FakeSocket.all.length, 1);
  window.dispatchEvent(new Event("online"));
  assert.equal(FakeSocket.all.length, 2);
  assert.equal(socket().url.searchParams.get("why"), "online");
});

test("a page from the back/forward cache reconnects at once", () => {
  socket().says(hello(5));
  window.dispatchEvent(new Event("pagehide"));
  assert.equal(FakeSocket.all[0].readyState, 3);
  window.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
  assert.equal(FakeSocket.all.length, 2);
});

test("signed out stays signed out until an answer says otherwise", () => {
  socket().says(hello(5));
  socket().ends(4401);
  assert.equal(state(), "signed-out");
  assert.deepEqual(source.asked, ["closed"]);
  answer(source, 401);
  pass(120);
  assert.equal(FakeSocket.all.length, 1);
  answer(source, 204, "", { "X-Live-Seq": "5" });
  pass(6);
  assert.equal(FakeSocket.all.length, 2);
});

test("a poll that says 401 or 403 signs out", () => {
  for (const status of [401, 403]) {
    source.disconnectedCallback();
    source = openPage(5);
    socket().says(hello(5));
    answer(source, status);
    assert.equal(state(), "signed-out");
    assert.equal(socket().readyState, 3);
  }
});

test("any fragment of htmx that says 401 signs out", () => {
  socket().says(hello(5));
  document.dispatchEvent(Object.assign(new Event("htmx:afterRequest"), { detail: { xhr: { status: 401, getResponseHeader: () => null } } }));
  assert.equal(state(), "signed-out");
});

test("too many sockets of one person: this page polls and doesn't fight for its place", () => {
  socket().says(hello(5));
  socket().ends(4409);
  assert.equal(state(), "polling");
  pass(120);
  assert.equal(FakeSocket.all.length, 1);
});

test("a page that loads itself again sends the header of htmx, which prolongs no session", () => {
  const asked = [];
  globalThis.fetch = (href, { headers }) => {
    asked.push([href, headers]);
    return Promise.reject(new Error("offline"));
  };
  answer(source, 204, "", { "X-Live-Reset": "1" });
  assert.deepEqual(asked, [["http://clinic.example/desk/", { "HX-Request": "true" }]]);
});

/** Answer the page's next requests for itself with a page at this place in the feed, or with nothing. */
function serve(place) {
  const asked = [];
  globalThis.DOMParser = class {
    parseFromString = () => ({
      getElementById: (id) => ({ value: String({ "live-cursor": place.cursor, "live-epoch": place.epoch }[id]) }),
    });
  };
  globalThis.fetch = async (href) => {
    asked.push(href);
    if (!place) throw new Error("offline");
    return { status: place.status ?? 200, text: async () => "" };
  };
  return asked;
}
const settled = () => new Promise((resolve) => setImmediate(resolve));

test("a page of another epoch loads again, whatever its number, and goes on from there", async () => {
  source.disconnectedCallback();
  source = openPage(15);
  const asked = serve({ cursor: 17, epoch: "e2" });
  socket().says(hello(17, "e2"));
  assert.deepEqual(source.asked, []);
  await settled();
  assert.equal(asked.length, 1);
  assert.deepEqual([source.epoch, source.cursor], ["e2", 17]);
  socket().says(entry(18, "e2"));
  assert.deepEqual(told, [18]);
  assert.deepEqual(source.asked, []);
});

test("a beat of another epoch makes the page load again too, once at a time", async () => {
  socket().says(hello(5));
  const asked = serve({ cursor: 2, epoch: "e2" });
  for (let beats = 0; beats < 3; beats += 1) socket().says(beat(2, "e2"));
  await settled();
  assert.equal(asked.length, 1);
  assert.deepEqual([source.epoch, source.cursor], ["e2", 2]);
  socket().says(beat(2, "e2"));
  assert.equal(asked.length, 1);
});

test("a page that couldn't be loaded again tries at the next beat", async () => {
  socket().says(hello(5));
  const asked = serve(null);
  socket().says(hello(2, "e2"));
  await settled();
  assert.equal(source.epoch, "e1");
  serve({ cursor: 2, epoch: "e2" });
  socket().says(beat(2, "e2"));
  await settled();
  assert.deepEqual([asked.length, source.epoch], [1, "e2"]);
});

test("a page whose rows couldn't be loaded again tries at the next beat, or with the next poll", async () => {
  socket().says(hello(5));
  for (const retry of [() => socket().says(beat(5)), () => answer(source, 204, "", { "X-Live-Seq": "5" })]) {
    serve(null);
    source.reload();
    await settled();
    const asked = serve({ cursor: 5, epoch: "e1" });
    for (let times = 0; times < 2; times += 1) {
      retry();
      await settled();
      assert.equal(asked.length, 1);
    }
  }
});

test("a page that is somebody else's now is opened again, which says so", async () => {
  let opened = 0;
  location.reload = () => (opened += 1);
  socket().says(hello(5));
  serve({ cursor: 5, epoch: "e2", status: 404 });
  socket().says(hello(5, "e2"));
  await settled();
  assert.deepEqual([opened, source.epoch], [1, "e1"]);
});

test("the page of an appointment that was moved loads again, a page without its facts doesn't", async () => {
  const elements = {};
  document.getElementById = (id) => elements[id] ?? null;
  const asked = serve({ cursor: 7, epoch: "e1" });
  socket().says(hello(5));
  const moved = (seq) => ({ ...entry(seq), html: entry(seq).html.replace("data-seq", 'data-rebooked="" data-seq') });
  socket().says(moved(6));
  await settled();
  assert.equal(asked.length, 0);
  elements["payment-p7-facts"] = {};
  socket().says(moved(7));
  await settled();
  assert.deepEqual([asked.length, told], [1, [6, 7]]);
  document.getElementById = () => null;
});

test("a page whose appointment was moved isn't proven until it is loaded again", async () => {
  document.getElementById = () => ({ dispatchEvent() {} });
  const moved = (seq) => entry(seq).html.replace("data-seq", 'data-rebooked="" data-seq');
  socket().says(hello(5));
  const { provenAt } = source;
  pass(1);
  serve({ cursor: 7, epoch: "e1" });
  socket().says({ ...entry(6), html: moved(6) });
  answer(source, 200, moved(7), { "X-Live-Seq": "7" });
  socket().says(beat(7));
  assert.equal(source.provenAt, provenAt);
  await settled();
  assert.equal(source.provenAt, Date.now());
  document.getElementById = () => null;
});

test("what comes while the page loads again is asked for", async () => {
  socket().says(hello(5));
  serve({ cursor: 2, epoch: "e2" });
  socket().says(hello(2, "e2"));
  socket().says(entry(3, "e2"));
  assert.deepEqual(told, []);
  await settled();
  assert.deepEqual([source.cursor, source.asked], [2, ["gap"]]);
});

test("a page that is loaded as it was before a change hears of the change once", async () => {
  socket().says(hello(5));
  serve({ cursor: 5, epoch: "e1" });
  source.reload();
  socket().says(entry(6));
  await settled();
  assert.deepEqual([source.cursor, source.asked], [5, ["gap"]]);
  answer(source, 200, entries(6), { "X-Live-Seq": "6" });
  assert.deepEqual([source.cursor, told], [6, [6]]);
});

test("a page that is loaded as it was before its appointment was moved loads again", async () => {
  document.getElementById = () => ({ dispatchEvent() {} });
  const moved = entry(6).html.replace("data-seq", 'data-rebooked="" data-seq');
  socket().says(hello(5));
  const asked = serve({ cursor: 5, epoch: "e1" });
  source.reload();
  socket().says({ ...entry(6), html: moved });
  await settled();
  answer(source, 200, moved, { "X-Live-Seq": "6" });
  assert.equal(asked.length, 2);
  await settled();
  document.getElementById = () => null;
});

test("a fragment older than the page makes it ask from the fragment's number", () => {
  socket().says(hello(9));
  source.cursor = 9;
  fragment(7);
  assert.equal(source.cursor, 7);
  assert.equal(source.asked.at(-1), "fragment");
});

test("an answer that was requested before an older fragment came leaves nothing out", () => {
  source.disconnectedCallback();
  source = openPage(9);
  fragment(7);
  answer(source, 200, entries(10), { "X-Live-Seq": "10" });
  assert.deepEqual([source.cursor, source.asked, source.provenAt], [7, ["fragment"], 0]);
  polls(source, "live:refresh");
  answer(source, 200, entries(8, 9, 10), { "X-Live-Seq": "10" });
  assert.deepEqual([source.cursor, source.provenAt], [10, Date.now()]);
});

test("an answer proves nothing if the socket has told of a newer change meanwhile", () => {
  socket().says(hello(5));
  pass(1);
  const { provenAt } = source;
  socket().says(beat(6));
  answer(source, 204, "", { "X-Live-Seq": "5" });
  assert.equal(source.provenAt, provenAt);
  socket().ends();
  polls(source);
  answer(source, 204, "", { "X-Live-Seq": "5" });
  assert.equal(source.provenAt, Date.now());
});

test("an answer proves the page as it was when it was requested", async () => {
  const asked = Date.now();
  polls(source);
  pass(7);
  answer(source, 204, "", { "X-Live-Seq": "5" });
  assert.equal(source.provenAt, asked);
  serve({ cursor: 5, epoch: "e1" });
  source.reload();
  pass(0.5);
  await settled();
  assert.equal(source.provenAt, asked + 7000);
});

test("a fragment of another epoch makes the page load again, whatever its number", async () => {
  socket().says(hello(5));
  for (const seq of [4, 5, 6]) {
    const asked = serve({ cursor: 5, epoch: "e1" });
    fragment(seq, "e0");
    await settled();
    assert.deepEqual([asked.length, source.cursor, source.asked], [1, 5, []]);
  }
});

test("an entry of another epoch isn't shown, although its number is the next", async () => {
  socket().says(hello(5));
  const asked = serve({ cursor: 5, epoch: "e1" });
  socket().says(entry(6, "e0"));
  await settled();
  assert.deepEqual([asked.length, told, source.cursor], [1, [], 5]);
});

test("an answer of the epoch that the page has left isn't shown, and makes the page load again", async () => {
  socket().says(hello(5));
  const { provenAt } = source;
  pass(1);
  for (const [status, seq, body] of [[200, "6", entries(6)], [204, "5", ""]]) {
    const asked = serve({ cursor: 5, epoch: "e1" });
    answer(source, status, body, { "X-Live-Seq": seq, "X-Live-Epoch": "e0" });
    assert.deepEqual([asked.length, told, source.cursor, source.provenAt], [1, [], 5, provenAt]);
    await settled();
    source.provenAt = provenAt;
  }
});

test("what is swapped in again after such a fragment is no news", () => {
  socket().says(hello(5));
  for (const seq of [6, 7]) socket().says(entry(seq));
  fragment(6);
  answer(source, 200, entries(7, 8), { "X-Live-Seq": "8" });
  assert.equal(source.cursor, 8);
  assert.deepEqual(told, [6, 7, 8]);
});

test("whatever happens, in any order: in sequence, nothing twice, and never connected without a recent proof", () => {
  let seed = 20261122;
  const random = (below) => {
    seed = (seed * 1103515245 + 12345) % 2147483648;
    return Math.floor((seed / 2147483648) * below);
  };
  const since = (seq) => Array.from({ length: head - seq }, (_, n) => seq + n + 1);
  let head = 5;
  let heard = Date.now();
  const hears = (...messages) => {
    if (socket().readyState > 1) return;
    heard = Date.now();
    for (const message of messages) socket().says(message);
  };
  const wakes = (name, fields = {}) => window.dispatchEvent(Object.assign(new Event(name), fields));
  const happenings = [
    () => hears(entry((head += 1))),
    () => (head += 1), // the frame is lost
    () => hears(entry(Math.max(1, head - random(3)))), // told again
    () => hears(...since(source.cursor).map((seq) => entry(seq)), hello(head)),
    () => hears(beat(head)),
    () => socket().readyState < 2 && socket().ends([1000, 1001, 1006, 1011, 1012, 1013][random(6)]),
    () => pass(random(40)),
    () => page.dispatchEvent(new Event("visibilitychange")),
    () => wakes(["online", "offline", "pagehide"][random(3)]),
    () => wakes("pageshow", { persisted: true }),
    () => answer(source, 200, entries(...since(Math.max(0, source.cursor - random(3))))),
  ];
  for (let step = 0; step < 3000; step += 1) {
    happenings[random(happenings.length)]();
    assert.ok(source.cursor <= head);
    if (source.connected) assert.ok(Date.now() - heard <= 14_100, `step ${step}: connected without proof`);
  }
  wakes("online");
  while (socket().readyState > 1) pass(1); // one that was opening may just have been given up
  hears(hello(head));
  answer(source, 200, entries(...since(source.cursor)));
  assert.equal(state(), "connected");
  assert.equal(source.cursor, head);
  assert.deepEqual(told, Array.from({ length: head - 5 }, (_, n) => n + 6));
});
