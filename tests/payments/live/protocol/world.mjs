// A small world: one server and some open pages. It lists what can happen next, lets it happen, and says what is wrong.

import { clock, enter, LONG_AGO_MS, Page } from "./browser.mjs";
import { BEAT_MS, Server } from "./server.mjs";

const ANSWER_MS = 10_000; // both htmx and fetch give up then
const TAIL_MS = 2000;
const DECEIVED_MOST_MS = BEAT_MS + TAIL_MS; // that a page is wrong and believes to be right
const WRONG_MOST_MS = 45_000; // until a page is right again, if nothing else happens
const REQUESTS_MOST = 12; // and sockets of one page, after the last thing that happened to it
const PROVEN = "proven, although it was told of more";
const FAULTS = "restore rename prune restart crash cut frame hint again reorder fragment reload tick fail".split(" ");

export class World {
  /** The plan says how many pages there are, which changes can be committed, and how often else what can happen. */
  constructor(Source, { pages = 1, changes = 2, kinds = [{ payment: "p1" }], origins = [true], batch = 2, ...budget }) {
    Object.assign(this, { kinds, origins });
    this.left = { changes, ...Object.fromEntries(FAULTS.map((fault) => [fault, budget[fault] ?? 0])) };
    const payments = [...new Set(kinds.map(({ payment }) => payment))].map((payment) => ({ payment }));
    this.server = new Server((id, text) => this.arrive(id, text), batch, payments);
    clock.now = 0;
    this.longest = { deceivedMs: 0, wrongMs: 0, requests: 0 };
    const network = { ping: (id) => this.serve("ping", id), leave: (id) => this.serve("leave", id) };
    const names = ["A", "B", "C"].slice(0, pages);
    this.pages = names.map((name) => new Page(Source, name, network, this.server.page()));
    for (const page of this.pages) for (const id of Object.keys(page.elements)) page.rightAt[id] = 0;
  }

  arrive(id, text) {
    for (const page of this.pages) {
      for (const socket of page.sockets) if (socket.id === id && !socket.cut) socket.messages.push(text);
    }
  }

  /** Let the server do a step, and note which contents of pages are no longer true. */
  serve(step, ...args) {
    const before = this.server.page().elements;
    this.server[step](...args);
    const after = this.server.page().elements;
    for (const [id, { text }] of Object.entries(before)) {
      if (after[id].text !== text) this.server.data.ended[text] = clock.now;
    }
  }

  save() {
    const pages = this.pages.map((page) => page.save());
    return { now: clock.now, left: { ...this.left }, server: this.server.save(), pages };
  }

  restore(saved) {
    clock.now = saved.now;
    this.left = { ...saved.left };
    this.server.restore(saved.server);
    this.pages.forEach((page, place) => page.restore(saved.pages[place]));
  }

  /** Return a text that is equal for two worlds only if they can't be told apart from now on. Pages are alike. */
  key() {
    const { data } = this.server;
    const feed = data.feed && { ...data.feed };
    const sockets = feed?.sockets ?? {};
    const known = new Set();
    const state = (id) => {
      known.add(id);
      const socket = sockets[id] ?? feed?.left[id];
      return socket && [{ ...socket, id: 0 }, feed.querying === id, feed.waiting.indexOf(id)];
    };
    const pages = this.pages.map((page) => page.describe(state)).sort();
    const unknown = Object.keys({ ...sockets, ...feed?.left }).filter((id) => !known.has(id));
    const others = unknown.map((id) => JSON.stringify(state(id))).sort();
    if (feed) Object.assign(feed, { sockets: others, left: 0, waiting: 0, querying: 0 });
    const ended = Object.entries(data.ended).map(([text, at]) => [text, Math.min(clock.now - at, LONG_AGO_MS)]).sort();
    const untilBeat = data.beatDue && data.beatDue - clock.now;
    return JSON.stringify([this.left, { ...data, feed, ended, beatDue: 0 }, untilBeat]) + pages.join("");
  }

  // What can happen

  /** Return the names of all steps that are possible now, each with what it is about. */
  steps() {
    const { data } = this.server;
    const { feed } = data;
    const { left } = this;
    const steps = [];
    const may = (name, ...args) => steps.push([name, ...args]);
    const queries = Object.values({ ...feed?.sockets, ...feed?.left }).filter(({ query }) => query);
    for (const { id, query } of queries) may(query.read ? "returned" : "read", id);
    if (feed?.pumping) may(feed.pumping.read ? "returned" : "read");
    if (data.direct.length) may("hint", "direct", 0);
    if (data.layered.length) may("hint", "layered", 0);
    if (data.layered.length > 1 && left.reorder) may("reorder");
    if (data.layered.length && left.hint) may("loseHint");
    if (data.layered.length && left.again) may("repeatHint");
    if (data.tail) may("returnTail");
    else if (this.mayTail()) may("readTail");
    const hints = data.direct.length + data.layered.length;
    let still = !queries.length && !feed?.pumping && !hints && !data.tail && !this.mayTail();
    this.pages.forEach((page, place) => {
      for (const socket of page.sockets) {
        if (socket.cut) continue;
        if (!socket.accepted && socket.readyState === 0) may("accept", place, socket.id);
        else if (socket.messages.length) may("deliver", place, socket.id);
        else if (socket.ending) may("close", place, socket.id);
        else if (left.cut && socket.readyState === 1) {
          may("cut", place, socket.id);
          continue;
        } else continue;
        still = false;
        if (left.frame && socket.messages[0]?.startsWith('{"seq')) may("loseFrame", place, socket.id);
      }
      if (page.poll) this.request(may, "Poll", page.poll, place);
      if (page.loading) this.request(may, "Load", page.loading, place);
      page.fragments.forEach((fragment, number) => this.request(may, "Fragment", fragment, place, number));
      if (left.fragment) may("fragment", place);
      if (left.reload && !page.loading) may("reload", place);
      if (left.tick) may("tick", place);
      if (this.requests(page).some(({ since }) => clock.now - since >= ANSWER_MS)) still = false;
    });
    if (left.changes) for (const kind of this.kinds.keys()) for (const here of this.origins) may("commit", kind, here);
    for (const fault of ["restore", "rename", "prune", "restart", "crash"]) if (left[fault]) may(fault);
    if (still) may("pass");
    return steps;
  }

  /** Return whether the regular query is due, and finds something or is followed by a beat. */
  mayTail() {
    const { feed, tailed, beatDue } = this.server.data;
    return feed && !tailed && (this.hasNews() || clock.now >= beatDue);
  }

  /** Return whether the feed has another position than the process knows. */
  hasNews() {
    const { feed, epoch } = this.server.data;
    return feed && (feed.head !== this.server.head || feed.epoch !== epoch);
  }

  request(may, what, { answer }, ...where) {
    may(answer ? `answer${what}` : `serve${what}`, ...where);
    if (this.left.fail && what !== "Fragment") may(`fail${what}`, ...where);
  }

  // How it happens

  /** Let a step happen, and return what is wrong then, or "". */
  async perform([name, ...args]) {
    const place = typeof args[0] === "number" && name !== "commit" ? args[0] : null;
    if (place !== null) enter(this.pages[place]);
    try {
      await this[`do_${name}`](...args);
    } catch (error) {
      return error.message;
    }
    for (const page of this.pages) {
      enter(page);
      page.runNow();
    }
    return this.wrong();
  }

  spend(budget) {
    this.left[budget] -= 1;
    for (const page of this.pages) Object.assign(page, { wrongMs: 0, requests: 0 });
  }

  requests = (page) => [page.poll, page.loading, ...page.fragments].filter(Boolean);

  get sockets() {
    return this.pages.flatMap(({ sockets }) => sockets);
  }

  socket = (place, id) => this.pages[place].sockets.find((socket) => socket.id === id);

  do_read = (id) => this.serve("read", id);
  do_returned = (id) => this.serve("returned", id);
  do_hint = (from, place) => this.serve("hint", from, place);
  do_readTail = () => this.serve("readTail");
  do_returnTail() {
    this.serve("returnTail");
    if (clock.now >= this.server.data.beatDue) this.serve("beat", clock.now);
  }
  do_reorder() {
    this.spend("reorder");
    this.serve("hint", "layered", 1);
  }
  do_loseHint() {
    this.spend("hint");
    this.serve("loseHint");
  }
  do_repeatHint() {
    this.spend("again");
    this.serve("repeatHint");
  }
  do_commit(kind, here) {
    this.spend("changes");
    this.serve("commit", this.kinds[kind], here);
  }
  do_restore() {
    this.spend("restore");
    this.serve("restoreBackup");
  }
  do_rename() {
    this.spend("rename");
    this.serve("rename");
  }

  do_prune() {
    this.spend("prune");
    this.serve("forget");
  }

  /** The process ends properly: its sockets are closed after what was written to them. */
  do_restart() {
    this.spend("restart");
    this.serve("stop");
    for (const socket of this.sockets) if (!socket.cut) socket.ending = socket.accepted ? 1012 : 1006;
  }

  /** The process's machine vanishes: nothing more arrives, and nobody says so. */
  do_crash() {
    this.spend("crash");
    this.serve("stop");
    for (const socket of this.sockets) Object.assign(socket, { cut: true, messages: [] });
  }

  do_accept(place, id) {
    const socket = this.socket(place, id);
    Object.assign(socket, { accepted: true, readyState: 1 });
    socket.onopen?.();
    this.serve("join", id, socket.after, Number(socket.epoch.slice(1)), clock.now);
  }
  do_deliver(place, id) {
    const socket = this.socket(place, id);
    const data = socket.messages.shift();
    const { seq, epoch } = JSON.parse(data);
    socket.told = { seq, epoch };
    this.prove(this.pages[place], socket.told, () => socket.onmessage?.({ data }));
  }
  do_close(place, id) {
    const socket = this.socket(place, id);
    socket.readyState = 3;
    this.pages[place].sockets = this.pages[place].sockets.filter((each) => each !== socket);
    socket.onclose?.({ code: socket.ending });
  }
  do_cut(place, id) {
    this.spend("cut");
    this.socket(place, id).cut = true; // what is under way arrives late, if at all
  }
  do_loseFrame(place, id) {
    this.spend("frame");
    this.socket(place, id).messages.shift();
  }

  do_servePoll(place) {
    const { poll } = this.pages[place];
    poll.answer = this.server.answerPoll(poll);
  }
  do_answerPoll(place) {
    const page = this.pages[place];
    const { answer } = page.poll;
    const told = { seq: answer.headers["X-Live-Seq"], epoch: answer.headers["X-Live-Epoch"] };
    this.prove(page, told, () => page.endPoll(answer));
  }

  /** Let a page hear of a number, which proves the page only if it then shows all up to it, and never puts it back. */
  prove(page, { seq, epoch }, hear) {
    const { source } = page;
    const { provenAt, cursor, epoch: before } = source;
    source.provenAt = -1;
    hear();
    const isProven = source.provenAt !== -1;
    if (!isProven) source.provenAt = provenAt;
    const isBehind = epoch !== source.epoch || Number(seq) > source.cursor || this.lacks(source);
    if (isProven && isBehind) throw new Error(PROVEN);
    if (source.epoch === before && source.cursor < cursor) throw new Error("put back by something late");
  }
  do_failPoll(place) {
    this.spend("fail");
    this.pages[place].endPoll(null);
  }
  do_serveLoad(place) {
    this.pages[place].loading.answer = this.server.page();
  }
  async do_answerLoad(place) {
    const page = this.pages[place];
    const { source } = page;
    const { provenAt } = source;
    source.provenAt = -1;
    await page.endLoad(page.loading.answer);
    if (source.provenAt === -1) source.provenAt = provenAt;
    else if (this.lacks(source)) throw new Error(PROVEN);
  }

  /** Return whether the page's socket has last told a number of the page's epoch that the page hasn't reached. */
  lacks({ _socket, epoch, cursor }) {
    return _socket?.told?.epoch === epoch && _socket.told.seq > cursor;
  }
  do_failLoad(place) {
    this.spend("fail");
    return this.pages[place].endLoad(null);
  }
  do_fragment(place) {
    this.spend("fragment");
    this.pages[place].fragments.push({ since: clock.now, answer: null });
  }
  do_serveFragment(place, number) {
    this.pages[place].fragments[number].answer = this.server.page();
  }
  do_answerFragment(place, number) {
    const [{ answer }] = this.pages[place].fragments.splice(number, 1);
    this.pages[place].endFragment(answer);
  }
  do_reload(place) {
    this.spend("reload");
    this.pages[place].source.reload();
  }
  do_tick(place) {
    this.spend("tick");
    this.pages[place].request("every");
  }

  /** Let time pass until a page does something or the server has to, but not beyond the end of a request. */
  do_pass() {
    const { data } = this.server;
    const started = clock.now;
    const waits = this.pages.flatMap((page) => this.requests(page).map(({ since }) => since + ANSWER_MS));
    const end = Math.min(started + (this.hasNews() ? TAIL_MS : BEAT_MS), data.beatDue ?? Infinity, ...waits);
    for (const page of this.pages) page.acted = false;
    do {
      clock.now += 500;
      for (const page of this.pages) {
        enter(page);
        page.tick();
      }
    } while (clock.now < end && !this.pages.some((page) => page.acted));
    data.tailed = false;
    for (const page of this.pages) {
      if (!this.shows(page)) page.wrongMs += clock.now - started;
      else if (!page.poll && !page.loading && page.source.connected) page.requests = 0;
    }
  }

  // What must hold

  /** Return whether the page shows what the database holds. */
  shows(page) {
    return Object.values(this.server.page().elements).every(({ id, text }) => page.elements[id].text === text);
  }

  wrong() {
    for (const page of this.pages) {
      if (page.twice) return `${page.name}: twice: ${page.twice}`;
      if (page.requests > REQUESTS_MOST) return `${page.name}: requests without end`;
      const deceivedMs = this.deceivedMs(page);
      if (this.shows(page)) page.wrongMs = 0;
      const { wrongMs, requests } = page;
      for (const [what, value] of Object.entries({ deceivedMs, wrongMs, requests })) {
        this.longest[what] = Math.max(this.longest[what], value);
      }
      if (deceivedMs > DECEIVED_MOST_MS) return `${page.name}: wrong for ${deceivedMs} ms, and believes to be right`;
      if (wrongMs > WRONG_MOST_MS) return `${page.name}: wrong for ${wrongMs} ms`;
      const missed = this.missed(page);
      if (missed) return `${page.name}: never: ${missed}`;
    }
    return "";
  }

  /** Return how long an element of the page has been wrong while the page believed to be right. */
  deceivedMs(page) {
    const truth = this.server.page().elements;
    let longest = 0;
    const until = Math.min(clock.now, page.source.provenAt + BEAT_MS);
    for (const [id, { text }] of Object.entries(page.elements)) {
      const isRight = text === truth[id].text;
      page.rightAt[id] = isRight ? clock.now : Math.max(page.rightAt[id], this.server.data.ended[text] ?? 0);
      const since = Math.max(page.rightAt[id], page.believesSince);
      if (!isRight && page.source.connected) longest = Math.max(longest, until - since);
    }
    if (!page.believes) page.believesSince = clock.now;
    return longest;
  }

  /** Return which change the page has passed without an event or a toast, although it wasn't loaded with it, or "". */
  missed({ source, fired, confirmed, toasted, excused }) {
    const { epoch, changes, histories } = this.server.data;
    const number = Number(source.epoch.slice(1));
    const history = number === epoch ? changes.map(({ id }) => id) : (histories[number] ?? []);
    for (const id of history.slice(0, source.cursor)) {
      for (const [kind, seen] of Object.entries({ fired, confirmed, toasted })) {
        if (!((seen | excused) & (1 << id))) return `${kind} ${id}`;
      }
    }
    return "";
  }
}
