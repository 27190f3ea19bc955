// Explores a world to its end: every order of everything that can happen in it.

import { World } from "./world.mjs";

/** A set of texts, of which it keeps 64 bits each. */
class Seen {
  size = 0;
  #slots = new BigUint64Array(1 << 20);

  /** Add a text and return whether it is new. */
  add(text) {
    if (this.size * 2 > this.#slots.length) this.#grow();
    const isNew = this.#put(digest(text));
    this.size += isNew;
    return isNew;
  }
  #put(value) {
    const mask = this.#slots.length - 1;
    let place = Number(value & 0xffffffffn) & mask;
    while (this.#slots[place]) {
      if (this.#slots[place] === value) return false;
      place = (place + 1) & mask;
    }
    this.#slots[place] = value;
    return true;
  }
  #grow() {
    const old = this.#slots;
    this.#slots = new BigUint64Array(old.length * 2);
    for (const value of old) if (value) this.#put(value);
  }
}

/** Return 64 bits of a text, by two hashes with different factors. */
function digest(text) {
  let [one, two] = [0x9e3779b9, 0x85ebca6b];
  for (let place = 0; place < text.length; place += 1) {
    const code = text.charCodeAt(place);
    one = Math.imul(one ^ code, 0x01000193);
    two = Math.imul(two ^ code, 0x5bd1e995) ^ (two >>> 15);
  }
  one ^= one >>> 16;
  return (BigInt(two >>> 0) << 32n) | BigInt(Math.imul(one, 0x7feb352d) >>> 0) || 1n;
}

/** Return the steps that led to a node, oldest first. */
function trace(node) {
  const steps = [];
  for (let each = node; each.step; each = each.before) steps.unshift(each.step.join(" "));
  return steps;
}

/**
 * Explore all states of a world. Depth first, because that needs little memory; with `shortest` breadth first, so that
 * the first counterexample is a shortest one. Return what was found.
 */
export async function explore(Source, plan, shortest = false) {
  const started = performance.now();
  const world = new World(Source, plan);
  const seen = new Seen();
  seen.add(world.key());
  let waiting = [{ saved: world.save(), node: { step: null } }];
  let later = []; // with `shortest`: the states that are one step further
  let transitions = 0;
  const result = (wrong, node) => {
    const seconds = (performance.now() - started) / 1000;
    return { wrong, trace: node ? trace(node) : [], states: seen.size, transitions, seconds, ...world.longest };
  };
  while (waiting.length) {
    const { saved, node } = waiting.pop();
    world.restore(saved);
    for (const [place, step] of world.steps().entries()) {
      if (place) world.restore(saved);
      const wrong = await world.perform(step);
      transitions += 1;
      const reached = { step, before: node };
      if (wrong) return result(wrong, reached);
      if (seen.add(world.key())) (shortest ? later : waiting).push({ saved: world.save(), node: reached });
    }
    if (!waiting.length) [waiting, later] = [later, waiting];
  }
  return result("", null);
}
