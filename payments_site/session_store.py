"""The session backend: Django's database sessions, with malformed keys refused."""

from django.contrib.sessions.backends import db


class SessionStore(db.SessionStore):
    """Treats a session key that is not ASCII letters and digits as missing.

    A quoted cookie can contain a NUL character, which PostgreSQL refuses with an error.
    """

    def __init__(self, session_key: str | None = None) -> None:
        super().__init__(session_key if session_key and session_key.isalnum() and session_key.isascii() else None)
