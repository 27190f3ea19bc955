"""One open WebSocket: writing to it never waits, and a page that reads too slowly is disconnected."""

import logging

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
        """Send messages without waiting; drop the connection if more than LIMIT bytes are still unsent."""
        if self.closed:
            return
        if (unsent := self._wire.unsent()) > LIMIT:
            metrics.SOCKETS_CUT.inc()
            logger.warning("live_socket_cut", extra={"audience": self.session.audience, "unsent": unsent})
            self.closed = True
            self._wire.abort()
        else:
            self._wire.write(messages)

    def unsent(self) -> int:
        """Return how many bytes for the page are still buffered in this process."""
        return self._wire.unsent()

    def close(self, code: int) -> None:
        """Close the connection with a close code, and ignore later writes."""
        if not self.closed:
            self.closed = True
            self._wire.close(code)
