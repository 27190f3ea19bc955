"""Runs a request with an Idempotency-Key once, and gives its answer again when it is repeated within 24 hours."""

import base64
import hashlib
import hmac
import json
import re
import uuid
from collections.abc import Callable

from cryptography.fernet import Fernet
from django.http import HttpRequest, HttpResponse

from people.digests import digest_of

from ..models import ApiKey, StoredAnswer
from .keys import bearer_of
from .problems import Problem

HEADER = "Idempotency-Key"
VALID = re.compile(r"[\x21-\x7e]{1,255}")
KEPT_HEADERS = ("Content-Type", "Location", "Retry-After")


def run_once(request: HttpRequest, api_key: ApiKey, run: Callable[[], HttpResponse]) -> HttpResponse:
    """Return the answer of `run`, or the stored answer if the request is a repeated one.

    Without the header Idempotency-Key, or for a request that changes nothing, this only calls `run`. Raises Problem if
    the first request with the header's value is still running or was another request. An answer of 500 or above is not
    stored, so that the request can be repeated.
    """
    given = request.headers.get(HEADER)
    request.effect = uuid.uuid4()  # type: ignore[attr-defined]
    if given is None or request.method not in ("POST", "PUT"):
        return run()
    if not VALID.fullmatch(given):
        detail = "This must be 1 to 255 visible ASCII characters, such as a random UUID."
        raise Problem(422, errors=[{"header": HEADER, "detail": detail}])
    fingerprint = fingerprint_of(request)
    row, is_first = StoredAnswer.objects.begin(api_key, digest_of(given), fingerprint)
    if row.fingerprint != fingerprint:
        detail = "This key was sent before with another method, address or body. Send a new key with a new request."
        raise Problem(422, errors=[{"header": HEADER, "detail": detail}])
    if is_first:
        request.effect = row.effect  # type: ignore[attr-defined]
        return _run_and_store(row, _cipher(request, given), run)
    if row.answer is None:
        words = "The first request with this Idempotency-Key is still running. Repeat it in a second."
        raise Problem(409, words, headers={"Retry-After": "1"})
    return _restored(_cipher(request, given).decrypt(bytes(row.answer)))


def fingerprint_of(request: HttpRequest) -> str:
    """Return a hash of the request's method, address and body."""
    parts = (str(request.method).encode(), request.get_full_path().encode(), request.body)
    return hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def _run_and_store(row: StoredAnswer, cipher: Fernet, run: Callable[[], HttpResponse]) -> HttpResponse:
    mine = StoredAnswer.objects.filter(pk=row.pk, started_at=row.started_at)
    try:
        response = run()
    except BaseException:
        mine.delete()
        raise
    if response.status_code >= 500:
        mine.delete()
    else:
        headers = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
        kept = json.dumps([response.status_code, headers, response.content.decode()])
        mine.update(answer=cipher.encrypt(kept.encode()))
    return response


def _restored(kept: bytes) -> HttpResponse:
    status, headers, content = json.loads(kept)
    response = HttpResponse(content, status=status, headers=headers)
    response.headers["Idempotent-Replayed"] = "true"
    return response


def _cipher(request: HttpRequest, given: str) -> Fernet:
    """Return the cipher of the answer to a request; its key follows from the API key, which isn't stored, and `given`.

    `given` is the value of the header Idempotency-Key.
    """
    secret = hmac.digest(bearer_of(request.headers["Authorization"]).encode(), given.encode(), hashlib.sha256)
    return Fernet(base64.urlsafe_b64encode(secret))
