"""Tests of the images that deploy/Dockerfile makes: buildah builds them, and both run together.

Docker is not needed. Where its registry can't be reached, base images of Debian's packages take the place of those that
the Dockerfile names.
"""

import json
import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from payments_site.demo.process import HOST
from payments_site.demo.site import ROOT
from tests.bare_machine import debootstrap
from tests.docs.page import take
from tests.machine import needs
from tests.test_deploy import DEPLOY, NAME
from tests.waits import wait_until

[PREPARE] = take("docs/operations.md", "Install")
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
# Packages of each stand-in, and what else makes it like the image.
STAND_INS = {
    "python": ("python3,python3-pip", "ln -s python3 /usr/bin/python; rm /usr/lib/python3*/EXTERNALLY-MANAGED"),
    "nginx": ("nginx,curl", "true"),
}
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
PATHS = "/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin"


class Buildah:
    """Images and containers in a folder. The containers share a network in which there is nothing else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.start = [
            "buildah",
            "--root",
            str(folder / "store"),
            "--runroot",
            str(folder / "run"),
            "--storage-driver",
            "vfs",
        ]
        self.environment = {**os.environ, "TMPDIR": str(folder), "BUILDAH_ISOLATION": "chroot"}

    def do(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*self.start, *arguments], env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0 or not check, done.stdout[-3000:] + done.stderr[-3000:]
        return done

    def provide(self, image: str) -> None:
        """Pull the image, or make one of Debian's packages in its place."""
        if self.do("pull", image, check=False).returncode == 0:
            return
        packages, script = next(found for name, found in STAND_INS.items() if image.startswith(name))
        root = self.folder / re.sub(r"\W", "-", image)
        debootstrap(root, "trixie", f"ca-certificates,{packages}")
        subprocess.run(["chroot", root, "sh", "-ec", script], check=True)
        shutil.copy(str(ssl.get_default_verify_paths().cafile), f"{root}{CERTIFICATES}")
        container = self.do("from", "scratch").stdout.strip()
        self.do("add", "-q", container, str(root), "/")
        settings = (f"PATH={PATHS}", f"SSL_CERT_FILE={CERTIFICATES}", f"PIP_CERT={CERTIFICATES}")
        self.do("config", *(f"--env={setting}" for setting in settings), container)
        self.do("commit", "-q", container, f"docker.io/library/{image}")
        self.do("rm", container)
        shutil.rmtree(root)

    def build(self, target: str) -> None:
        files = ("-f", str(DEPLOY / "Dockerfile"), "--ignorefile", str(DEPLOY / "Dockerfile.dockerignore"))
        self.do("bud", "--pull-never", *files, "--target", target, "-t", target, str(ROOT))


class Containers:
    """One web process and the proxy, in a network of their own, in which both servers' names lead to this process."""

    def __init__(self, buildah: Buildah, network: int, env_file: Path) -> None:
        self.buildah = buildah
        self.inside = ["nsenter", "--target", str(network), "--net"]
        lines = [line for line in env_file.read_text().splitlines() if line and line[0] != "#"]
        self.settings = [part for line in lines for part in ("-e", line.replace('"', ""))]
        servers = re.findall(r"server (web-\w+):", (DEPLOY / "nginx/upstream.compose.conf").read_text())
        buildah.do("from", "--pull-never", "--name", "web", "localhost/site")
        hosts = [part for name in servers for part in ("--add-host", f"{name}:{HOST}")]
        buildah.do("from", "--pull-never", *hosts, "--name", "nginx", "localhost/proxy")
        self.tls = buildah.folder / "tls.pem"
        folder = Path(buildah.do("mount", "nginx").stdout.strip()) / "etc/nginx/tls"
        folder.mkdir()
        self_signed = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={NAME}"
        files = ["-keyout", str(folder / "privkey.pem"), "-out", str(self.tls), "-addext", f"subjectAltName=DNS:{NAME}"]
        subprocess.run([*self_signed.split(), *files], check=True, capture_output=True)
        shutil.copy(self.tls, folder / "fullchain.pem")

    def command(self, container: str, *words: str) -> list[str]:
        settings = self.settings if container == "web" else ["-e", f"SITE_URL=https://{NAME}"]
        return [*self.inside, *self.buildah.start, "run", *settings, container, "--", *words]

    def run(self, container: str, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(container, *words), env=self.buildah.environment, capture_output=True, text=True, check=False
        )

    @contextmanager
    def running(self, container: str, *words: str) -> Iterator[None]:
        with (self.buildah.folder / f"{container}.log").open("w") as log:
            process = subprocess.Popen(
                self.command(container, *words), env=self.buildah.environment, stdout=log, stderr=log
            )
            try:
                yield
            finally:
                process.terminate()
                process.wait(60)

    def ask(self, path: str, *options: str) -> tuple[int, str]:
        """Ask the proxy over TLS; return the status, 0 if it doesn't answer, and the body."""
        curl = ["curl", "-s", "--cacert", str(self.tls), "--resolve", f"{NAME}:443:{HOST}", "-w", "\n%{http_code}"]
        command = [*self.inside, *curl, *options, f"https://{NAME}{path}"]
        body, _, status = subprocess.run(command, capture_output=True, text=True, check=False).stdout.rpartition("\n")
        return int(status), body


@contextmanager
def network() -> Iterator[int]:
    """Make a network with nothing but a loopback interface, and yield the id of a process in it."""
    holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "ip link set lo up; echo up; exec sleep infinity"],
                              stdout=subprocess.PIPE, text=True)  # fmt: skip
    try:
        assert holder.stdout
        assert holder.stdout.readline() == "up\n"
        yield holder.pid
    finally:
        holder.kill()
        holder.wait()


def env_file(folder: Path) -> Path:
    """Make the environment file as the page says, fill it in, and return its path. SQLite takes PostgreSQL's place."""
    shutil.copytree(DEPLOY, folder / "deploy")
    subprocess.run(["sh", "-ec", PREPARE.text.splitlines()[0]], cwd=folder, check=True)
    values = {"SECRET_KEY": "k" + os.urandom(32).hex(), "SITE_URL": f"https://{NAME}", "ALLOWED_HOSTS": NAME,
              "DATABASE_URL": "sqlite:////tmp/db.sqlite3", "WEB_PROCESSES": "1", "REDIS_URL": ""}  # fmt: skip
    text = (folder / ".env").read_text()
    for name, value in values.items():
        text, found = re.subn(rf"^#?{name}=.*", f"{name}={value}", text, flags=re.M)
        assert found == 1, name
    (folder / ".env").write_text(text)
    return folder / ".env"


def start_command() -> list[str]:
    """Return the last CMD of the Dockerfile."""
    *_, last = re.findall(r"^CMD (\[.*?\])$", DOCKERFILE.replace("\\\n", " "), re.M)
    words: list[str] = json.loads(last)
    return words


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make base images")
@needs("buildah", "buildah")
@needs("debootstrap", "debootstrap")
def test_both_images_are_built_and_serve_the_site_over_tls(tmp_path: Path) -> None:
    buildah = Buildah(tmp_path / "buildah")
    buildah.folder.mkdir()
    for image in sorted(set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.M))):
        buildah.provide(image)
    for target in ("site", "proxy"):
        buildah.build(target)
    with network() as pid:
        containers = Containers(buildah, pid, env_file(tmp_path))
        migrated = containers.run("web", "python", "manage.py", "migrate", "--noinput")
        assert migrated.returncode == 0, migrated.stderr
        with containers.running("web", *start_command()), containers.running("nginx", "nginx", "-g", "daemon off;"):
            wait_until(lambda: containers.ask("/livez")[0] == 200, "the site answers through the proxy", 300)
            the_proxy_serves_the_site(containers)
            the_containers_say_that_they_are_well(containers)
            a_server_can_be_drained(containers)
        nothing_can_be_changed_and_the_sandbox_is_missing(containers)


def the_proxy_serves_the_site(containers: Containers) -> None:
    status, page = containers.ask("/login/")
    assert status == 200
    style = re.findall(r"/static/[^\"]+\.[0-9a-f]{12}\.css", page)[0]
    assert containers.ask(style)[0] == 200
    assert containers.ask("/metrics")[0] == 404
    assert containers.ask("/stripe/webhook/", "-d", "{}")[0] == 400


def the_containers_say_that_they_are_well(containers: Containers) -> None:
    assert containers.run("web", "python", "deploy/healthcheck.py").returncode == 0
    command = re.findall(r"test: \[CMD-SHELL, '(.*)'\]", (DEPLOY / "compose.yaml").read_text())[0].replace("$$", "$")
    assert containers.run("nginx", "sh", "-c", command).returncode == 0


def a_server_can_be_drained(containers: Containers) -> None:
    for direction in ("down", "up"):
        done = containers.run("nginx", "drain", direction, "web-a:8000")
        assert done.returncode == 0, done.stderr
        assert containers.ask("/livez")[0] == 200


def nothing_can_be_changed_and_the_sandbox_is_missing(containers: Containers) -> None:
    assert containers.run("web", "id", "-u").stdout == "10001\n"
    assert containers.run("web", "touch", "/opt/payments/payments/new.py").returncode != 0
    assert "ModuleNotFoundError" in containers.run("web", "python", "-c", "import stripe_sandbox").stderr
    assert "pg_dump (PostgreSQL) 17." in containers.run("web", "pg_dump", "--version").stdout
