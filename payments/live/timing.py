"""How often open pages hear from the server, and poll it, in seconds."""

BEAT = 10  # seconds between two heartbeats of a socket
POLL_SECONDS = 30  # between two polls of a page whose socket isn't healthy
