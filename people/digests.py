"""Stores random secrets, such as the token of a link, so that nobody who reads the database can use them."""

import hashlib


def digest_of(secret: str) -> str:
    """Return the hash by which a secret is stored and looked up. Nobody can guess the secret, so it needs no salt."""
    return hashlib.sha256(secret.encode()).hexdigest()
