"""The middleware that runs the others and the view in one thread: what it spares the event loop and the memory."""

import resource

import pytest
from asgiref.sync import SyncToAsync, async_to_sync
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient

from payments_site.one_thread import in_one_thread


@pytest.mark.django_db
def test_the_event_loop_waits_for_few_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """SyncToAsync is replaced to count its calls. Without the middleware there are twenty."""
    calls, call = [], SyncToAsync.__call__

    async def counted(self: SyncToAsync, *args: object, **kwargs: object) -> object:  # type: ignore[type-arg]
        calls.append(self)
        return await call(self, *args, **kwargs)

    monkeypatch.setattr(SyncToAsync, "__call__", counted)
    assert async_to_sync(AsyncClient().get)("/livez").status_code == 200
    assert len(calls) < 8


def test_functions_find_room_for_their_frames_at_any_depth() -> None:
    """A chunk of memory that each call of the loop maps and frees would show as a thousand page faults."""

    def view(request: HttpRequest) -> HttpResponse:
        _loop(request.depth, found)  # type: ignore[attr-defined]
        return HttpResponse()

    found: list[int] = []
    request = HttpRequest()
    for request.depth in range(200):  # type: ignore[attr-defined]
        in_one_thread(view)(request)
    assert max(found) < 500


def _loop(depth: int, found: list[int]) -> None:
    """Call a function a thousand times, `depth` calls further down; add to `found` how many pages were mapped."""
    if depth:
        return _loop(depth - 1, found)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(1000):
        _outer()
    found.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return None


def _outer() -> None:
    """Call a function, because the frames of two don't fit where one of `_loop` doesn't: some depth meets the end."""
    _inner()


def _inner() -> None:
    pass
