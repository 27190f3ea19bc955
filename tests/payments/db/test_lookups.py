import pytest

from payments.models import Feed

pytestmark = [pytest.mark.django_db, pytest.mark.postgres]


@pytest.mark.parametrize(
    "wanted", [[], ["staff"], ["staff", "patient.1", "nobody"], ['o\'brien, {"é"} %s \\'], ["%", "STAFF"]]
)
def test_among_finds_what_in_finds(wanted: list[str]) -> None:
    feeds = [Feed.objects.create(audience=name) for name in ("staff", "patient.1", 'o\'brien, {"é"} %s \\')]
    found = Feed.objects.filter(audience__among=wanted)
    assert set(found) == set(Feed.objects.filter(audience__in=wanted))
    keys = {feed.pk for feed in feeds[1:]}
    assert set(Feed.objects.filter(pk__among=keys)) == set(feeds[1:])
