"""Send e-mails about accounts in the background, so that a form's response time doesn't tell who has an account.

A form is then answered equally fast for known and unknown addresses.
"""

import contextvars
import functools
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from django.db import connections
from django.utils.translation import get_language, override

logger = logging.getLogger(__name__)

SENDERS = 2  # threads; each waits up to EMAIL_TIMEOUT seconds for each step of the mail server
LONGEST_QUEUE = 100  # e-mails waiting or being sent; further ones are dropped, so that they can't fill the memory

_places = threading.BoundedSemaphore(LONGEST_QUEUE)


def send_soon(send: Callable[[], object]) -> None:
    """Call `send` in another thread, with a copy of the caller's context variables and in the caller's language.

    If too many calls wait already, `send` isn't called, and an error is logged.
    """
    if not _places.acquire(blocking=False):
        logger.error("account_email_dropped", extra={"waiting": LONGEST_QUEUE})
        return
    _senders().submit(contextvars.copy_context().run, _send, send, get_language())


@functools.cache
def _senders() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(SENDERS, thread_name_prefix="account-email")


def _send(send: Callable[[], object], language: str | None) -> None:
    try:
        with override(language):  # Django keeps the language of a thread that runs no event loop for this thread alone
            send()
    except Exception as error:  # noqa: BLE001 nobody else would learn of it
        logger.error("account_email_failed", extra={"error": type(error).__name__})  # the text may name addresses
    finally:
        connections.close_all()
        _places.release()
