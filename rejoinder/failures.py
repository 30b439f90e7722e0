"""What can go wrong between the client and a server, as one tree.

::

    ClientError                   code                     the command exits with
    ├── Unreachable               unreachable              3
    ├── GaveUp                    no_progress              3
    ├── Refused                   the server's own code    4
    ├── StreamBroken              stream_broken            5
    └── VoidOutput                void_output              5
"""

from __future__ import annotations

from broker.errors import RejoinderError


class ClientError(RejoinderError):
    """Base of what the client raises: a stable ``code`` and a message for people."""

    code = "client_error"


class Unreachable(ClientError):
    """No connection to the server could be made."""

    code = "unreachable"
    retryable = True


class GaveUp(ClientError):
    """The server was there, or came and went, but nothing moved for too long."""

    code = "no_progress"
    retryable = True


class StreamBroken(ClientError):
    """What arrived can't be a stream of this protocol: a gap, a repetition, an unreadable frame."""

    code = "stream_broken"


class VoidOutput(ClientError):
    """What was written to a pipe can't be taken back, and the answer starts over."""

    code = "void_output"


class Refused(ClientError):
    """The server answered with an error: ``code`` is the server's, ``status`` the HTTP status."""

    def __init__(
        self, message: str, *, code: str, status: int, field: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message, field=field)
        self.code = code
        self.status = status
        self.retry_after_s = retry_after_s
        """Seconds after which the server would like to be asked again, where it said so."""

    @property
    def passing(self) -> bool:
        """Whether the same request may succeed later: 408, 425, 429 and every 5xx."""
        return self.status in {408, 425, 429} or self.status >= 500
