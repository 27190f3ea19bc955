"""Turns the bytes of one WebSocket into messages and answers, as RFC 6455 says, without touching the network itself."""

from typing import Protocol as Interface

from websockets.frames import CTRL_OPCODES, CloseCode, Frame, Opcode
from websockets.protocol import Protocol, Side, State
from websockets.typing import LoggerLike

MOST_FRAMES = 200  # frames that may arrive before the owner sets `frames` to 0 again


class Listener(Interface):
    """Handles what arrives over one WebSocket."""

    def receive(self, message: str | bytes) -> None:
        """Handle a message from the page: a str if it is a text, bytes if it is binary."""

    def leave(self) -> None:
        """Handle the end of the connection."""


class MessageProtocol(Protocol):
    """The server's end of an open WebSocket: `websockets`' protocol without I/O, with messages instead of frames.

    The library parses frames, answers pings and close frames, and refuses frames that break the protocol. This class
    joins fragments, checks that texts are UTF-8, limits how many frames arrive, and passes each message to `listener`.
    `frames` counts the frames that have arrived since the owner last set it to 0.
    """

    def __init__(self, max_size: int | None, logger: LoggerLike) -> None:
        super().__init__(Side.SERVER, max_size=max_size, logger=logger)
        self.listener: Listener | None = None
        self.frames = 0
        self._message = bytearray()  # what has arrived of a message whose last frame is still missing
        self._is_text = False

    def recv_frame(self, frame: Frame) -> None:
        """Handle a frame. The library calls this method for each frame that it has parsed, before it parses the next.

        A UnicodeDecodeError that is raised here makes the library close the connection with code 1007.
        """
        super().recv_frame(frame)
        self.events.clear()  # nobody reads the library's list of frames
        self.frames += 1
        if self.frames > MOST_FRAMES:
            self.fail(CloseCode.POLICY_VIOLATION, "too many frames")
        elif frame.opcode not in CTRL_OPCODES:
            self._join(frame)

    def end(self) -> Listener | None:
        """Note that the connection has ended. Return the listener, which the protocol then forgets.

        This also ends the object's reference cycles, so that its memory is freed without a garbage collection.
        """
        listener, self.listener = self.listener, None
        self.state, self.parser_exc = State.CLOSED, None
        self.parser.close()
        return listener

    def _join(self, frame: Frame) -> None:
        """Add the frame to the message, and pass the message to the listener if this was its last frame."""
        if frame.opcode is not Opcode.CONT:
            self._is_text = frame.opcode is Opcode.TEXT
        self._message += frame.data
        if frame.fin:
            message, self._message = bytes(self._message), bytearray()
            if self.listener is not None:
                self.listener.receive(message.decode() if self._is_text else message)
