"""Intervals, in seconds, of a WebSocket's heartbeats and of the requests that a page without a WebSocket repeats."""

BEAT = 10  # seconds between two heartbeats of a socket
POLL_SECONDS = 30  # between two polls of a page whose socket isn't healthy
