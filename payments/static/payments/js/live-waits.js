// How long <live-source> waits, in milliseconds.

export const CONNECT_MS = 8000; // for the socket to open
export const HELLO_MS = 15000; // from there for "hello", which takes longer when many pages return at once
export const LATE_MS = 500; // that a heartbeat may be late
export const PROBE_MS = 2000; // from "ping" to its answer

const RETRY_MS = 3000; // mean wait before reconnecting
const STEADY_TRIES = 6; // tries after which the wait grows
const RETRY_GROWTH = 1.4;
const RETRY_MAX_MS = 30000;

/** Return the wait before this try to reconnect, spread at random so that a thousand pages don't return at once. */
export function retryMs(tries) {
  const mean = Math.min(RETRY_MS * RETRY_GROWTH ** Math.max(0, tries - STEADY_TRIES), RETRY_MAX_MS);
  return Math.round(mean * (0.5 + Math.random()));
}
