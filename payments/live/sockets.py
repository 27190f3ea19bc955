"""One open WebSocket: writing to it never waits, and a page that reads too slowly is disconnected."""

import logging
from contextlib import suppress

from .. import metrics
from .socket_sessions import SocketSession
from .wires import Messages, Wire

logger = logging.getLogger(__name__)

LIMIT = 1024 * 1024  # unsent bytes above which a connection is cut; the system's own buffers don't count


class Socket:
    """An open WebSocket of one page, which follows a feed (a numbered list of changes).

    The page has all feed entries up to number `seq`; `epoch` is the feed's epoch to which that number belongs, or None
    if it isn't known. `live` becomes true once the page has caught up and gets each new entry.
    """

    __slots__ = ("_wire", "closed", "epoch", "language", "live", "seq", "session")

    def __init__(self, session: SocketSession, language: str, wire: Wire) -> None:
        self.session, self.language = session, language
        self.seq, self.live, self.closed = 0, False, False
        self.epoch: str | None = None
        self._wire = wire

    def write(self, messages: Messages) -> None:
        """Send messages without waiting; drop the connection if that fails or more than LIMIT bytes are unsent."""
        if self.closed:
            return
        try:
            if (unsent := self._wire.unsent()) > LIMIT:
                metrics.SOCKETS_CUT.inc()
                logger.warning("live_socket_cut", extra={"audience": self.session.audience, "unsent": unsent})
                self._drop()
            else:
                self._wire.write(messages)
        except Exception:  # a loop that serves all sockets calls this method
            logger.exception("live_write_failed", extra={"audience": self.session.audience})
            self._drop()

    def unsent(self) -> int:
        """Return how many bytes for the page are still buffered in this process."""
        return self._wire.unsent()

    def close(self, code: int) -> None:
        """Close the connection with a close code, and ignore later writes."""
        if self.closed:
            return
        self.closed = True
        try:
            self._wire.close(code)
        except Exception:  # a loop that serves all sockets calls this method
            logger.exception("live_close_failed", extra={"audience": self.session.audience})
            self._drop()

    def _drop(self) -> None:
        """Ignore later writes and drop the connection, which may have ended already."""
        self.closed = True
        with suppress(Exception):
            self._wire.abort()
