"""Where sessions are kept: Django's table."""

from django.contrib.sessions.backends import db


class SessionStore(db.SessionStore):
    """A cookie that is no key of ours is nobody's: quotes can carry a NUL into it, at which PostgreSQL fails."""

    def __init__(self, session_key: str | None = None) -> None:
        super().__init__(session_key if session_key and session_key.isalnum() and session_key.isascii() else None)
