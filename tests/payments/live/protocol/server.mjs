// The server, as a model: the database, and one process with its fan-out (payments/live/fanout.py, hub.py, feeds.py).
//
// Methods are named as in these files. A query is two steps, because what it reads may be old when it returns. The
// test compares every message of this model with what the real fan-out sends after the same steps.

export const BEAT_MS = 10_000;

import { Element, remembered } from "./browser.mjs";

/** Copy the values of an object, each of them by `copy`. */
const copyEach = (object, copy) => Object.fromEntries(Object.entries(object).map(([key, value]) => [key, copy(value)]));
const copySocket = (socket) => ({ ...socket, query: socket.query && { ...socket.query } });

/** Copy a fan-out. Its entries, like all that was read, are never changed and need no copy. */
function copyFeed(feed) {
  const { recent, pumping, waiting, sockets, left } = feed;
  const copies = { sockets: copyEach(sockets, copySocket), left: copyEach(left, copySocket) };
  return { ...feed, ...copies, pumping: pumping && { ...pumping }, recent: { ...recent }, waiting: [...waiting] };
}

function copyData(data) {
  const { feed, changes, direct, layered, histories, ended } = data;
  const lists = { changes: [...changes], direct: [...direct], layered: [...layered] };
  return { ...data, ...lists, histories: { ...histories }, ended: { ...ended }, feed: feed && copyFeed(feed) };
}

/** Return a change's HTML as an entry of the feed with the number `seq`. */
function render({ id, payment, version, rebooked }, seq) {
  const flags = `data-confirmed=""${rebooked ? ' data-rebooked=""' : ""}`;
  const payload = `data-payment="${payment}" data-version="${version}" data-status="${id}"`;
  return `<live-entry data-seq="${seq}" ${payload} ${flags}>`;
}

/** Return a page of this database: for each payment its status, its timeline, and what no entry brings. */
const pageOf = remembered(
  ({ changes, name, epoch }) => {
    const elements = {};
    for (const payment of new Set(changes.map((change) => change.payment))) {
      const own = changes.filter((change) => change.payment === payment);
      const { id, version } = own.at(-1);
      const moves = own.filter((change) => change.rebooked).map((change) => change.id);
      const parts = [
        new Element(`payment-${payment}`, { version: `${version}`, shows: `${id}` }),
        new Element(`payment-${payment}-timeline`, { items: own.map((change) => `change-${payment}-${change.id}`) }),
        new Element(`payment-${payment}-facts`, { shows: `${name} ${moves}` }),
      ];
      for (const part of parts) elements[part.id] = part;
    }
    const [seq, ids] = [changes.length, changes.map(({ id }) => id)];
    const headers = { "X-Live-Seq": `${seq}`, "X-Live-Epoch": `e${epoch}` };
    const bits = ids.reduce((sum, id) => sum | (1 << id), 0);
    return { elements, seq, epoch: `e${epoch}`, changes: bits, headers, key: [epoch, name, ids] };
  },
  ({ changes, name, epoch }) => JSON.stringify([epoch, name, changes]),
);

export class Server {
  /** `send` gets a socket's id and the text of each message to it; `batch` is how many entries are loaded at once. */
  constructor(send, batch, kinds) {
    Object.assign(this, { send, batch });
    this.data = {
      epoch: 1,
      epochs: 1,
      name: 1,
      ids: 0,
      changes: [],
      pruned: 0, // entries up to this number are deleted
      histories: {}, // of earlier epochs
      ended: {}, // when an element's content ceased to be the truth
      feed: null, // the process's fan-out, while it has sockets
      direct: [], // hints of this process, with their entry
      layered: [], // hints that come through the channel layer
      tail: null, // what the regular query has read
      tailed: false, // whether it has returned since time last passed
      beatDue: null,
    };
    for (const kind of kinds) this.append(kind);
    this.backup = [...this.data.changes];
  }

  save = () => copyData(this.data);
  restore = (saved) => (this.data = copyData(saved));

  // The database

  get head() {
    return this.data.changes.length;
  }
  get position() {
    return { epoch: this.data.epoch, seq: this.head };
  }

  append({ payment, rebooked = false }) {
    const { data } = this;
    const version = data.changes.filter((change) => change.payment === payment).length + 1;
    data.changes.push({ id: (data.ids += 1), payment, version, rebooked });
  }

  commit(kind, here) {
    this.append(kind);
    const hint = { at: this.position, entry: here ? this.entry(this.head) : null };
    if (here && this.data.feed) this.data.direct.push(hint);
    if (!here) this.data.layered.push(hint);
  }

  beginEpoch() {
    const { data } = this;
    data.histories[data.epoch] = data.changes.map(({ id }) => id);
    data.epoch = data.epochs += 1;
  }
  restoreBackup() {
    this.beginEpoch();
    Object.assign(this.data, { changes: [...this.backup], pruned: 0 });
  }
  rename() {
    this.beginEpoch();
    this.data.name += 1;
  }

  forget() {
    this.data.pruned = this.head;
  }

  entry(seq) {
    return { seq, epoch: this.data.epoch, change: this.data.changes[seq - 1] };
  }

  entriesAfter(seq, epoch) {
    const { head } = this;
    if (epoch !== this.data.epoch || seq > head || seq < this.data.pruned) return { epoch: this.data.epoch, head, entries: [], reset: true };
    const last = Math.min(head, seq + this.batch);
    const entries = Array.from({ length: last - seq }, (_, n) => this.entry(seq + n + 1));
    return { epoch: this.data.epoch, head, entries, reset: false };
  }

  // HTTP: polls, pages and their parts

  answerPoll({ after, epoch }) {
    const batch = this.entriesAfter(after, Number(epoch.slice(1)));
    const last = batch.entries.at(-1)?.seq ?? batch.head;
    const html = batch.entries.map(({ seq, change }) => render(change, seq)).join("\n");
    const headers = { "X-Live-Seq": `${last}`, "X-Live-Epoch": `e${batch.epoch}` };
    if (batch.reset) headers["X-Live-Reset"] = "1";
    if (last < batch.head) headers["X-Live-More"] = "1";
    const status = html || batch.reset ? 200 : 204;
    return { status, html, headers, key: [status, html, Object.values(headers)] };
  }

  /** Return what a page shows now. */
  page = () => pageOf(this.data);

  // fanout.py

  behind(feed) {
    return feed.sent !== null && (feed.doubtful || feed.head > feed.sent);
  }

  advance(feed, at, entry) {
    if (feed.epoch !== null && feed.epoch !== at.epoch) {
      feed.doubtful = true;
      return true;
    }
    if (entry && at.seq > (feed.sent ?? 0)) feed.recent[at.seq] = entry;
    if (at.seq <= feed.head) return false;
    feed.head = at.seq;
    return true;
  }

  between(feed, after, last) {
    const end = Math.min(last, after + this.batch);
    const found = [];
    for (let seq = after + 1; seq <= end; seq += 1) {
      if (!feed.recent[seq]) return null;
      found.push(feed.recent[seq]);
    }
    return after > last ? null : found;
  }

  sameEpoch(feed, socket) {
    return socket.epoch === feed.epoch;
  }

  sentAfter(feed, socket) {
    if (feed.sent === null || !this.sameEpoch(feed, socket)) return null;
    return this.between(feed, socket.seq, feed.sent);
  }

  /** Go on catching up until the socket is live, waits for the lock of the queries, or for a query. */
  catchUp(feed, socket) {
    for (let turns = 0; !socket.closed && !(socket.seq === feed.sent && this.sameEpoch(feed, socket)); turns += 1) {
      if (turns > 100) throw new Error("the fan-out never ends");
      const recent = this.sentAfter(feed, socket);
      if (recent?.length) {
        this.write([socket], recent);
      } else if (feed.querying) {
        feed.waiting.push(socket.id);
        return;
      } else if (recent === null) {
        this.startQuery(feed, socket);
        return;
      }
    }
    this.makeLive(feed, socket);
  }

  makeLive(feed, socket) {
    delete feed.left[socket.id];
    if (!socket.closed) {
      socket.live = true;
      this.hello([socket], { epoch: socket.epoch ?? feed.epoch, seq: socket.seq });
    }
    this.pump(feed);
  }

  /** Give the lock of the queries to the sockets that wait for it, until one holds it. */
  wake(feed) {
    while (!feed.querying && feed.waiting.length) {
      const id = feed.waiting.shift();
      const socket = this.socket(feed, id);
      if (socket.closed && this.sentAfter(feed, socket) === null) this.startQuery(feed, socket);
      else this.catchUp(feed, socket);
    }
  }

  startQuery(feed, socket) {
    feed.querying = socket.id;
    Object.assign(socket, { sentBefore: feed.sent, query: { what: "position", read: null } });
  }

  /** A socket of the feed, or one that has left it while it was waiting. */
  socket = (feed, id) => feed.sockets[id] ?? feed.left[id];

  /** Go on with the position, or with the batch that a socket's query has returned. */
  queryReturned(feed, socket) {
    const { what, read } = socket.query;
    socket.query = null;
    if (what === "position" && (read.epoch !== socket.epoch || read.seq !== socket.seq)) {
      socket.query = { what: "batch", read: null };
      return;
    }
    const batch = what === "position" ? { epoch: read.epoch, head: read.seq, entries: [] } : read;
    const continued = this.noteLoaded(feed, batch, socket.sentBefore);
    feed.querying = null;
    if (!socket.closed) this.write([socket], batch.entries);
    socket.epoch = batch.epoch;
    socket.seq = batch.entries.at(-1)?.seq ?? batch.head;
    const done = !continued || ((feed.sent ?? 0) <= socket.seq && socket.seq === batch.head);
    this.wake(feed);
    if (done) this.makeLive(feed, socket);
    else this.catchUp(feed, socket);
  }

  noteLoaded(feed, batch, sent) {
    if (feed.sent === null) {
      Object.assign(feed, { epoch: batch.epoch, sent: batch.head, head: Math.max(feed.head, batch.head) });
    } else if (batch.epoch !== feed.epoch || batch.head < (sent ?? 0)) {
      feed.doubtful = true;
      return false;
    }
    this.keep(feed, batch.entries);
    return true;
  }

  keep(feed, entries) {
    for (const entry of entries) feed.recent[entry.seq] = entry;
    for (const seq of Object.keys(feed.recent)) if (seq <= (feed.sent ?? 0) - this.batch) delete feed.recent[seq];
  }

  /** Write new entries until all are written, or a query is needed. */
  pump(feed) {
    while (!feed.pumping && this.behind(feed)) {
      const { sent, head } = feed;
      const recent = feed.doubtful ? null : this.between(feed, sent, head);
      if (recent === null) {
        feed.doubtful = false;
        feed.pumping = { after: sent, epoch: feed.epoch, head, read: null };
        return;
      }
      this.pumped(feed, { epoch: feed.epoch, head, entries: recent }, head);
    }
  }

  pumpReturned(feed) {
    const { read, head } = feed.pumping;
    feed.pumping = null;
    if (read.reset) this.restartFeed(feed, { epoch: read.epoch, seq: read.head });
    else this.pumped(feed, read, head);
    this.pump(feed);
  }

  pumped(feed, batch, head) {
    feed.sent = batch.entries.at(-1)?.seq ?? batch.head;
    if (feed.head === head) feed.head = Math.max(batch.head, feed.sent);
    this.keep(feed, batch.entries);
    this.write(this.live(feed), batch.entries);
  }

  restartFeed(feed, at) {
    Object.assign(feed, { epoch: at.epoch, sent: at.seq, head: at.seq, recent: {} });
    const live = this.live(feed);
    for (const socket of live) Object.assign(socket, at);
    this.hello(live, at);
  }

  live = (feed) => Object.values(feed.sockets).filter((socket) => socket.live);

  write(sockets, entries) {
    for (const socket of sockets) {
      for (const { seq, epoch, change } of entries.filter(({ seq: number }) => number > socket.seq)) {
        socket.seq = seq;
        this.send(socket.id, JSON.stringify({ seq, prev: seq - 1, epoch: `e${epoch}`, html: render(change, seq) }));
      }
    }
  }

  hello(sockets, { epoch, seq }) {
    const text = JSON.stringify({ t: "hello", seq, epoch: `e${epoch}`, hb: BEAT_MS / 1000 });
    for (const socket of sockets) this.send(socket.id, text);
  }

  heartbeat(feed, sockets) {
    const text = JSON.stringify({ t: "hb", seq: feed.head, epoch: `e${feed.epoch}` });
    for (const socket of sockets) this.send(socket.id, text);
  }

  // hub.py

  join(id, after, epoch, now) {
    const { data } = this;
    if (!data.feed) {
      const position = { epoch: null, sent: null, head: 0, doubtful: false };
      data.feed = { ...position, pumping: null, querying: null, waiting: [], recent: {}, sockets: {}, left: {} };
      Object.assign(data, { tailed: true, beatDue: now + BEAT_MS });
    }
    const socket = { id, seq: after, epoch, live: false, closed: false, query: null, sentBefore: null };
    data.feed.sockets[id] = socket;
    this.catchUp(data.feed, socket);
  }

  leave(id) {
    const { data } = this;
    const { feed } = data;
    const socket = feed?.sockets[id];
    if (!socket) return;
    delete feed.sockets[id];
    Object.assign(socket, { live: false, closed: true });
    if (socket.query || feed.waiting.includes(id)) feed.left[id] = socket; // its look-up goes on
    if (!Object.keys(feed.sockets).length) this.stop();
  }

  stop() {
    Object.assign(this.data, { feed: null, direct: [], tail: null, beatDue: null });
  }

  ping(id) {
    const { feed } = this.data;
    if (feed?.sockets[id]) this.heartbeat(feed, [feed.sockets[id]]);
  }

  hint(from, place = 0) {
    const [{ at, entry }] = this.data[from].splice(place, 1);
    const { feed } = this.data;
    if (feed && this.advance(feed, at, entry)) this.pump(feed);
  }

  loseHint() {
    this.data.layered.shift();
  }
  repeatHint() {
    this.data.layered.push(this.data.layered[0]);
  }

  readTail() {
    const { feed } = this.data;
    const known = { epoch: feed.epoch, seq: feed.head };
    const at = this.position;
    this.data.tail = { known, moved: known.epoch !== at.epoch || known.seq !== at.seq ? at : null };
  }

  returnTail() {
    const { data } = this;
    const { feed } = data;
    const { known, moved } = data.tail;
    Object.assign(data, { tail: null, tailed: true });
    if (moved && feed.sent !== null) {
      feed.doubtful ||= moved.seq < known.seq;
      this.advance(feed, moved, null);
    }
    this.pump(feed);
  }

  beat(now) {
    const { feed } = this.data;
    this.data.beatDue = now + BEAT_MS;
    this.heartbeat(feed, this.live(feed));
  }

  /** Let a query read the database: a socket's, or the pump's without an id. */
  read(id) {
    const { feed } = this.data;
    if (id === undefined) feed.pumping.read = this.entriesAfter(feed.pumping.after, feed.pumping.epoch);
    else {
      const socket = this.socket(feed, id);
      const { seq, epoch, query } = socket;
      query.read = query.what === "position" ? this.position : this.entriesAfter(seq, epoch);
    }
  }

  returned(id) {
    const { feed } = this.data;
    if (id === undefined) this.pumpReturned(feed);
    else this.queryReturned(feed, this.socket(feed, id));
  }
}
