// How long <live-source> waits for what, in milliseconds.

export const CONNECT_MS = 8000; // until the server takes the call
export const HELLO_MS = 15000; // from there to hello, which may wait for its turn
export const LATE_MS = 500; // by which a beat may be late
export const PROBE_MS = 2000; // from ping to answer

const RETRY_MS = 3000; // mean wait before a reconnect
const STEADY_TRIES = 6; // after these the wait grows
const RETRY_GROWTH = 1.4;
const RETRY_MAX_MS = 30000;

/** Before this try to reconnect: spread, so that a thousand pages don't return at once. */
export function retryMs(tries) {
  const mean = Math.min(RETRY_MS * RETRY_GROWTH ** Math.max(0, tries - STEADY_TRIES), RETRY_MAX_MS);
  return Math.round(mean * (0.5 + Math.random()));
}
