"""The session backend: Django's database sessions, but malformed session keys are ignored."""

from django.contrib.sessions.backends import db


class SessionStore(db.SessionStore):
    """Treats a session key as missing if it contains anything but ASCII letters and digits.

    A quoted cookie can contain a NUL character, and PostgreSQL raises an error for a text with NUL.
    """

    def __init__(self, session_key: str | None = None) -> None:
        super().__init__(session_key if session_key and session_key.isalnum() and session_key.isascii() else None)
