"""Secrets that sign outgoing webhooks. They are stored encrypted, because signing needs the secret itself."""

import base64
import os

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.utils.crypto import salted_hmac

PREFIX = "whsec_"
LENGTH = 32  # random bytes; Standard Webhooks allows 24 to 64
SALT = "integrations.outgoing.secrets"


class SecretLostError(Exception):
    """Raised when a stored secret can't be decrypted, because SECRET_KEY was replaced without SECRET_KEY_FALLBACKS."""


def new_secret() -> str:
    """Return a new random secret in the form that Standard Webhooks prescribes."""
    return PREFIX + base64.b64encode(os.urandom(LENGTH)).decode()


def encrypt(secret: str) -> str:
    return _fernet().encrypt(secret.encode()).decode()


def decrypt(stored: str) -> str:
    """Return the secret that `encrypt` encrypted with SECRET_KEY or an earlier key. Raises SecretLostError."""
    try:
        return _fernet().decrypt(stored).decode()
    except InvalidToken as error:
        raise SecretLostError from error


def encrypt_again(stored: str) -> str:
    """Return the stored secret, encrypted with the current SECRET_KEY. Raises SecretLostError."""
    return encrypt(decrypt(stored))


def _fernet() -> MultiFernet:
    """Return what encrypts with a key derived from SECRET_KEY, and also decrypts with those of SECRET_KEY_FALLBACKS."""
    keys = [salted_hmac(SALT, "", key, algorithm="sha256") for key in _secret_keys()]
    return MultiFernet([Fernet(base64.urlsafe_b64encode(key.digest())) for key in keys])


def _secret_keys() -> list[str]:
    return [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
