// Prints random runs of the server's model, one a line: lists of steps, each with the messages that it sent.
//   node runs.mjs NUMBER_OF_RUNS

import { Server } from "./server.mjs";

const KIND = { payment: "p1" };
const LENGTH = 60; // steps of a run
const SPENDS = {
  commit: "changes",
  restoreBackup: "epochs",
  rename: "epochs",
  forget: "epochs",
  join: "joins",
  leave: "leaves",
  stop: "leaves",
  loseHint: "faults",
  repeatHint: "faults",
};
let seed = 20261129;

function pick(choices) {
  seed = (seed * 1103515245 + 12345) % 2147483648;
  return choices[Math.floor((seed / 2147483648) * choices.length)];
}

/** Return lists of the steps that are possible now, one list for each kind of step. Sockets join at any place. */
function steps(server, left) {
  const { feed, epoch, direct, layered, tail } = server.data;
  const joins = [];
  for (let each = 1; each <= epoch; each += 1) {
    for (let after = 0; after <= server.head + 1; after += 1) joins.push(["join", `S${left.joins}`, after, each, 0]);
  }
  const layer = [...layered.keys()].map((place) => ["hint", "layered", place]);
  const kinds = [left.joins ? joins : [], layer];
  if (layered.length && left.faults) kinds.push([["loseHint"], ["repeatHint"]]);
  if (direct.length) kinds.push([["hint", "direct", 0]]);
  if (left.changes) kinds.push([["commit", KIND, true], ["commit", KIND, false]]);
  if (left.epochs) kinds.push([["restoreBackup"], ["rename"], ["forget"]]);
  if (!feed) return kinds;
  const sockets = Object.keys(feed.sockets);
  const queries = [...Object.values(feed.sockets), ...Object.values(feed.left)].filter(({ query }) => query);
  kinds.push(queries.map(({ id, query }) => [query.read ? "returned" : "read", id]));
  if (feed.pumping) kinds.push([[feed.pumping.read ? "returned" : "read"]]);
  kinds.push(tail ? [["returnTail"]] : [["readTail"]]);
  if (left.leaves) kinds.push([...sockets.map((id) => ["leave", id]), ["stop"]]);
  if (server.live(feed).length) kinds.push([["beat", 0], ...server.live(feed).map(({ id }) => ["ping", id])]);
  return kinds;
}

function run() {
  const left = { changes: 6, epochs: 3, joins: 8, leaves: 4, faults: 3 };
  const records = [];
  const server = new Server((id, text) => records.at(-1).push([id, text]), 2, [KIND]);
  while (records.length < LENGTH) {
    const kinds = steps(server, left).filter((kind) => kind.length);
    if (!kinds.length) break;
    const [name, ...args] = pick(pick(kinds));
    records.push([[name, ...args]]);
    server[name](...args);
    if (SPENDS[name]) left[SPENDS[name]] -= 1;
  }
  return records;
}

for (let number = Number(process.argv[2]); number; number -= 1) console.log(JSON.stringify(run()));
