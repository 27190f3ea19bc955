"""Tests of static files as collectstatic makes them for production."""

import gzip
import re
import sys
from pathlib import Path

import pytest
from django.contrib.auth.models import Group
from django.test import Client

from accounts.models import User
from payments.desk import till
from payments.domain.methods import Method
from payments.models import Payment
from payments_site.demo.site import ROOT
from tests import forked, people
from tests.sources import STATIC

COLLECT = """
from django.core.management import call_command
from django.test import override_settings
with override_settings(STATIC_ROOT={root!r}):
    call_command("collectstatic", interactive=False, verbosity=0)
"""
HASHED = re.compile(r"\.[0-9a-f]{12}\.")


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("static")
    command = [sys.executable, "manage.py", "shell", "--no-imports", "--command", COLLECT.format(root=str(root))]
    forked.output(command, cwd=ROOT, env={"DEBUG": "1", "STATIC_FROM_SOURCE": "0"})
    return root


def test_modules_import_hashed_names_that_exist(collected: Path) -> None:
    modules = [path for path in (collected / "payments/js").glob("*.js") if HASHED.search(path.name)]
    assert len(modules) == len(list((ROOT / "payments/static/payments/js").glob("*.js")))
    imported = {
        (collected / "payments/js" / name)
        for path in modules
        for name in re.findall(r'from "\./(.+?)"', path.read_text())
    }
    assert imported
    assert all(HASHED.search(path.name) and path.exists() for path in imported)


LOADED = re.compile(r'(?:src|href)="/static/([^"#]+)')
ZIPPED = {"Accept-Encoding": "gzip, br"}


def imports_of(module: str) -> set[str]:
    """Return the modules that the module with this name imports, and those that they import."""
    text = dict(STATIC)[module].read_text() if module.endswith(".js") and module in dict(STATIC) else ""
    direct = {f"payments/js/{name}" for name in re.findall(r'from "\./(.+?)"', text)}
    return direct.union(*map(imports_of, direct))


@pytest.mark.django_db
def test_the_desk_s_first_page_is_small_and_names_every_module(collected: Path) -> None:
    """The day list and all that it loads take less than 90 KB, and no module waits for another one to name it."""
    clerk, patient, *_ = (User.objects.get(pk=made["id"]) for made in people.make(staff=1, patients=6, each=5))
    clerk.groups.add(Group.objects.get(name="front desk"))
    desk, mine = Client(), Client()
    desk.force_login(clerk)
    mine.force_login(patient)
    payment = Payment.objects.with_appointment().first()
    assert payment
    till.take_payment(payment, 1000, Method.CASH, clerk, key="c0ffee")
    page = f"/desk/{payment.appointment.reference}/"
    for client, path in ((desk, "/desk/"), (desk, f"{page}take/"), (desk, f"{page}refund/"), (mine, "/appointments/")):
        loaded = set(LOADED.findall(client.get(path).content.decode()))
        assert not set().union(*map(imports_of, loaded)) - loaded, path
    answer = desk.get("/desk/", headers=ZIPPED)
    assert answer["Content-Encoding"] == "gzip"
    html = gzip.decompress(answer.content).decode()
    assert html.count("data-row") == 30
    names = set(LOADED.findall(html))
    assert {"payments/img/icons.svg", "payments/css/counter.css", "django_htmx/htmx-2.min.js"} <= names
    sizes = [size_of(collected, name) for name in names]
    assert len(sizes) > 20
    assert sum(sizes) + len(answer.content) < 90_000


def size_of(collected: Path, name: str) -> int:
    """Return the size of the compressed copy of a file, which is named by its path below static/."""
    path = collected / name
    [zipped] = [each for each in path.parent.glob(f"{path.stem}.*{path.suffix}.gz") if HASHED.search(each.name)]
    return zipped.stat().st_size
