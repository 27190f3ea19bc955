"""Tests of the files in deploy/ with the programs that read them: nginx, systemd, sh and the site's settings."""

import http.client
import json
import os
import re
import shlex
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from payments_site.demo.process import HOST, Process, free_port
from payments_site.demo.site import ROOT
from tests.docs.page import marked
from tests.live_site import LiveSite
from tests.machine import needs
from tests.services import running
from tests.waits import wait_until

DEPLOY = ROOT / "deploy"
NAME = "clinic.example"
UNITS = sorted((DEPLOY / "systemd").glob("payments-*.*[!d]"))
COMMON = DEPLOY / "systemd/payments-.service.d/all.conf"  # what all services share


# Configuration: env.example, the handbook and the settings must list the same variables


def settings_variables() -> set[str]:
    source = (ROOT / "payments_site" / "settings.py").read_text()
    return set(re.findall(r'\benv(?:\.\w+)?\("([A-Z_]+)"', source))


def compose_variables() -> set[str]:
    return set(re.findall(r"\$\{([A-Z_]+)", (DEPLOY / "compose.yaml").read_text()))


def test_env_example_names_every_variable_once() -> None:
    named = re.findall(r"^#?([A-Z][A-Z_]+)=", (DEPLOY / "env.example").read_text(), re.M)
    assert sorted(named) == sorted(settings_variables() | compose_variables())


def test_every_variable_of_env_example_is_explained() -> None:
    for entry in (DEPLOY / "env.example").read_text().strip().split("\n\n"):
        lines = entry.splitlines()
        if re.match(r"#?[A-Z][A-Z_]+=", lines[-1]):
            assert lines[0].startswith("# "), entry
            assert len(lines) == 2, f"one line of meaning, one of value: {entry}"


@pytest.mark.parametrize("page", ["docs/settings.md", "docs/fr/settings.md"])
def test_the_handbook_tells_the_same_variables(page: str) -> None:
    table = marked((ROOT / page).read_text(), "configuration")
    assert set(re.findall(r"^\| *`([A-Z_]+)`", table, re.M)) == settings_variables()


def test_env_example_is_read_alike_by_the_shell_and_by_systemd(tmp_path: Path) -> None:
    """The shell and systemd read the same values from env.example.

    Both remove quotes, but only the shell expands variables, so the file must contain none.
    """
    lines = [line for line in (DEPLOY / "env.example").read_text().splitlines() if line and not line.startswith("#")]
    read = subprocess.run(
        ["sh", "-c", f"set -a; . {DEPLOY / 'env.example'}; env"], capture_output=True, text=True, check=True, env={}
    ).stdout
    for line in lines:
        assert shlex.split(line)[0] in read.splitlines()
        assert not set("$`\\") & set(line)


# nginx


def knows_http2_directive() -> bool:
    """Return whether the installed nginx is 1.25.1 or newer: it knows `http2 on;` and warns of `listen ... http2`."""
    told = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True).stderr
    return [int(part) for part in re.findall(r"\d+", told)[:3]] >= [1, 25, 1]


class Nginx:
    """An nginx that runs the shipped nginx.conf, but with the test's own paths and ports.

    It also reads http2.conf if the installed nginx supports it. `servers` are the ports of the two servers behind it.
    """

    def __init__(self, folder: Path, *servers: int) -> None:
        self.folder, self.http, self.https = folder, free_port(), free_port()
        shutil.copytree(ROOT / "static/errors", folder / "static/errors")
        for name in ("tls", "log", "tmp"):
            (folder / name).mkdir()
        key, certificate = folder / "tls/privkey.pem", folder / "tls/fullchain.pem"
        self_signed = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={NAME}"
        files: list[str | Path] = ["-keyout", key, "-out", certificate, "-addext", f"subjectAltName=DNS:{NAME}"]
        subprocess.run([*self_signed.split(), *files], check=True, capture_output=True)
        self.tls = ssl.create_default_context(cafile=certificate)
        (folder / "nginx.conf").write_text(self._placed((DEPLOY / "nginx/nginx.conf").read_text()))
        upstream = (DEPLOY / "nginx/upstream.conf").read_text()
        for old, new in zip((8001, 8002), servers or (8001, 8002), strict=True):
            upstream = upstream.replace(f"127.0.0.1:{old}", f"{HOST}:{new}")
        (folder / "upstream.conf").write_text(upstream)
        if knows_http2_directive():
            shutil.copy(DEPLOY / "nginx/http2.conf", folder)
        user = "user root; " if os.geteuid() == 0 else ""
        self.command = ["nginx", "-e", "stderr", "-c", str(folder / "nginx.conf")]
        self.options = f"{user}daemon off; pid {folder / 'pid'};"
        self.process = Process("nginx", [*self.command, "-g", self.options], self.https, folder / "nginx.log", {})

    def _placed(self, conf: str) -> str:
        scratch, kinds = self.folder / "tmp", ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        changes = {
            "listen 80": f"listen {HOST}:{self.http}",
            "listen 443": f"listen {HOST}:{self.https}",
            "/var/log/nginx": f"{self.folder}/log",
            "/opt/payments/staticfiles": f"{self.folder}/static",
            "sendfile on;": "sendfile on; " + "".join(f"{kind}_temp_path {scratch}; " for kind in kinds),
        }
        for old, new in changes.items():
            assert old in conf
            conf = conf.replace(old, new)
        return conf

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[http.client.HTTPResponse, bytes]:
        with self.socket() as plain:
            client = http.client.HTTPConnection(NAME)
            client.sock = self.tls.wrap_socket(plain, server_hostname=NAME)
            client.request(method, path, body, headers or {})
            answer = client.getresponse()
            return answer, answer.read()

    def socket(self) -> socket.socket:
        return socket.create_connection((HOST, self.https), timeout=60)


@needs("nginx", "nginx-light")
def test_nginx_accepts_its_configuration(tmp_path: Path) -> None:
    nginx = Nginx(tmp_path)
    done = subprocess.run([*nginx.command, "-t", "-g", nginx.options], capture_output=True, text=True, check=False)
    assert "test is successful" in done.stderr
    assert "[warn]" not in done.stderr


@needs("nginx", "nginx-light")
def test_browsers_are_offered_http2_where_nginx_has_the_directive(echoing: Nginx) -> None:
    echoing.tls.set_alpn_protocols(["h2", "http/1.1"])
    with echoing.socket() as plain, echoing.tls.wrap_socket(plain, server_hostname=NAME) as secure:
        assert secure.selected_alpn_protocol() == ("h2" if knows_http2_directive() else "http/1.1")


class Echo(BaseHTTPRequestHandler):
    """Answers each request with the request's headers, as a JSON list of [name, value]."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        said = json.dumps([[name.lower(), value] for name, value in self.headers.items()]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_POST = do_PUT = do_GET  # noqa: N815 http.server's name

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 http.server's name
        pass


@pytest.fixture
def echoing(tmp_path: Path) -> Iterator[Nginx]:
    """Yield an nginx in front of two servers: one answers with the headers that it received, the other is down."""
    server = ThreadingHTTPServer((HOST, 0), Echo)
    threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()  # polls every 0.02 s
    nginx = Nginx(tmp_path, server.server_port, free_port())
    with running(nginx.process):
        yield nginx
    server.shutdown()
    server.server_close()


FORGED = {  # headers that a client may send, and that only a proxy may set
    "X-Forwarded-For": "8.8.8.8",
    "X_Forwarded_For": "8.8.4.4",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "http",
    "x-djstripe-webhook-secret": "whsec_mine",
    "Upgrade": "websocket",
}


@needs("nginx", "nginx-light")
def test_nginx_passes_on_only_what_may_be_believed(echoing: Nginx) -> None:
    _, body = echoing.ask("POST", "/stripe/webhook/", b"{}", FORGED | {"Stripe-Signature": "t=1,v1=0"})
    got = dict(json.loads(body))
    assert got["x-forwarded-for"] == HOST
    assert got["x-forwarded-proto"] == "https"
    assert got["host"] == NAME
    assert got["stripe-signature"] == "t=1,v1=0"
    assert re.fullmatch(r"[0-9a-f]{32}", got["x-request-id"])
    assert not {"x-djstripe-webhook-secret", "x-forwarded-host", "x_forwarded_for", "upgrade"} & got.keys()


@needs("nginx", "nginx-light")
def test_nginx_refuses_what_no_browser_and_no_stripe_sends(echoing: Nginx) -> None:
    def status(method: str, path: str, body: bytes = b"") -> int:
        return echoing.ask(method, path, body)[0].status

    assert status("POST", "/stripe/webhook/", b"x" * (256 * 1024 + 1)) == 413
    assert status("POST", "/stripe/webhook/", b"x" * 256 * 1024) == 200
    assert status("PUT", "/") == status("DELETE", "/stripe/webhook/") == status("DELETE", "/api/patients/1") == 405
    assert status("PUT", "/api/patients/1", b"{}") == 200
    assert status("GET", "/metrics") == status("GET", "/readyz") == 404
    assert status("GET", "/livez") == 200
    answer, _ = echoing.ask("GET", "/nowhere")
    assert answer.headers["Server"] == "nginx"
    with pytest.raises(ssl.SSLError), echoing.socket() as plain:
        echoing.tls.wrap_socket(plain, server_hostname="other.example")


RESET_KEY = "/password/reset/key/5-set-password/"


@needs("nginx", "nginx-light")
def test_nginx_slows_down_guessing_of_passwords_only(echoing: Nginx) -> None:
    posted = [echoing.ask("POST", "/login/")[0].status for _ in range(30)]
    assert 21 <= posted.count(200) < 30  # the first, the burst of 20, and one more every 6 s
    for path in ("/admin/login/", "/reauthenticate/", "/two-factor/authenticate/", "/password/reset/", RESET_KEY):
        assert 429 in [echoing.ask("POST", path)[0].status for _ in range(3)], path
    assert echoing.ask("POST", "/password/change/")[0].status == 200
    assert [echoing.ask("GET", "/login/")[0].status for _ in range(30)] == [200] * 30


@needs("nginx", "nginx-light")
def test_no_names_and_no_pay_links_are_in_the_access_log(echoing: Nginx) -> None:
    echoing.ask("GET", "/desk/?q=Moreau")
    echoing.ask("GET", "/p/token-that-opens-a-payment/pay/")
    echoing.process.stop()
    logged = (echoing.folder / "log/access.log").read_text()
    assert " GET /desk/ 200 " in logged
    assert " GET /p/... 200 " in logged
    assert "Moreau" not in logged
    assert "token" not in logged


def dripped(nginx: Nginx, begin: bytes, drop: bytes) -> float:
    """Open 50 connections and send `begin` on each, then `drop` every half second; return after how long all end."""
    began = time.monotonic()
    with ExitStack() as stack:
        lines = [stack.enter_context(nginx.tls.wrap_socket(nginx.socket(), server_hostname=NAME)) for _ in range(50)]
        for line in lines:
            line.sendall(begin)
            line.settimeout(0.01)
        while lines and time.monotonic() < began + 60:
            for line in list(lines):
                try:
                    line.sendall(drop)
                    if not line.recv(4096):
                        lines.remove(line)
                except TimeoutError:
                    pass
                except OSError:
                    lines.remove(line)
            assert nginx.ask("GET", "/livez")[0].status == 200
            time.sleep(0.5)
        assert not lines
    return time.monotonic() - began


@pytest.mark.nightly
@needs("nginx", "nginx-light")
def test_nginx_ends_requests_that_drip(echoing: Nginx) -> None:
    """Headers must arrive within 10 s; of a body, something must arrive every 10 s. Other requests are answered."""
    head = b"GET / HTTP/1.1\r\nHost: " + NAME.encode() + b"\r\n"
    assert 5 < dripped(echoing, head, b"X") < 25
    post = b"POST /stripe/webhook/ HTTP/1.1\r\nHost: " + NAME.encode() + b"\r\nContent-Length: 200000\r\n\r\n"
    assert 5 < dripped(echoing, post, b"") < 25


# Caddy


class Caddy:
    """A Caddy that runs the shipped Caddyfile as install.sh writes it for the installed version, with its own ports.

    Its certificate comes from an authority of its own. `servers` are the ports of the two servers behind it.
    """

    def __init__(self, folder: Path, *servers: int) -> None:
        self.https = free_port()
        conf = (DEPLOY / "caddy/Caddyfile").read_text()
        options = (
            f"admin off\n\tauto_https disable_redirects\n\tlocal_certs\n\tskip_install_trust\n\thttps_port {self.https}"
        )
        changes = {"grace_period 30s": options, "operator@": "operator@clinic.example"}
        for old, new in zip((8001, 8002), servers, strict=True):
            changes[f"127.0.0.1:{old}"] = f"{HOST}:{new}"
        for old_text, new_text in changes.items():
            assert old_text in conf
            conf = conf.replace(old_text, new_text)
        version = subprocess.run(["caddy", "version"], capture_output=True, text=True, check=True).stdout.lstrip("v")
        if [int(part) for part in re.findall(r"\d+", version)[:2]] < [2, 7]:
            conf = "".join(line for line in conf.splitlines(keepends=True) if "stream_close_delay" not in line)
        (folder / "Caddyfile").write_text(conf)
        command = ["caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]
        env = {"XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "HOME": str(folder)}
        self.process = Process("caddy", command, self.https, folder / "caddy.log", env)
        self.tls = ssl._create_unverified_context()  # noqa: S323 the authority is made when Caddy starts

    def has_certificate(self) -> bool:
        try:
            return self.ask("GET", "/livez")[0] == 200
        except ssl.SSLError:
            return False

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        with socket.create_connection((HOST, self.https), timeout=60) as plain:
            client = http.client.HTTPConnection(NAME)
            client.sock = self.tls.wrap_socket(plain, server_hostname=NAME)
            client.request(method, path, body, headers or {})
            answer = client.getresponse()
            return answer.status, answer.read()


@needs("caddy", "caddy")
def test_caddy_passes_on_only_what_may_be_believed_and_refuses_the_rest(tmp_path: Path) -> None:
    server = ThreadingHTTPServer((HOST, 0), Echo)
    threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
    caddy = Caddy(tmp_path, server.server_port, free_port())
    forged = {
        **FORGED,
        "Connection": "Upgrade",
        "Stripe-Signature": "t=1,v1=0",
    }
    with running(caddy.process):
        wait_until(caddy.has_certificate, "Caddy has a certificate")
        for path, status in (("/metrics", 404), ("/readyz", 404), ("/livez", 200), ("/", 200)):
            assert caddy.ask("GET", path)[0] == status
        for _ in range(20):  # until Caddy has noticed that the second server is down, because it sends no body twice
            assert caddy.ask("GET", "/")[0] == 200
        assert caddy.ask("PUT", "/api/patients/1", b"{}")[0] == 200
        assert caddy.ask("DELETE", "/")[0] == 405
        status, body = caddy.ask("POST", "/stripe/webhook/", b"{}", forged)
    server.shutdown()
    server.server_close()
    got = dict(json.loads(body))
    assert (status, got["x-forwarded-for"], got["x-forwarded-proto"], got["host"]) == (200, HOST, "https", NAME)
    assert got["stripe-signature"] == "t=1,v1=0"
    assert re.fullmatch(r"[A-Za-z0-9_-]{8,64}", got["x-request-id"])
    assert not {"x-djstripe-webhook-secret", "x-forwarded-host", "x_forwarded_for", "upgrade"} & got.keys()


# systemd


def unit_command(unit: str, port: int) -> list[str]:
    """Return the ExecStart command of a systemd unit, with this checkout's interpreter and `port` as the instance.

    It opens the port itself, where systemd would pass it on.
    """
    text = (DEPLOY / "systemd" / unit).read_text().replace("\\\n", " ").replace("%i", str(port))
    text = text.replace("--fd 3", f"--host {HOST} --port {port}")
    command = shlex.split(re.findall(r"^ExecStart=(.*)$", text, re.M)[0])
    return [command[0].replace("/opt/payments/.venv/bin", str(Path(sys.executable).parent)), *command[1:]]


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """Copy the systemd units and return their paths.

    The copies name this checkout instead of /opt/payments, and template units become instances for port 8001.
    """
    python = str(Path(sys.executable).parent)
    for unit in [*UNITS, COMMON]:
        text = unit.read_text().replace("/opt/payments/.venv/bin", python).replace("/opt/payments", str(ROOT))
        copy = tmp_path / unit.relative_to(DEPLOY / "systemd")
        copy.parent.mkdir(exist_ok=True)
        copy.with_name(unit.name.replace("@.", "@8001.")).write_text(text)
    return sorted(tmp_path.glob("payments-*.*[!d]"))


@needs("systemd-analyze", "systemd")
def test_systemd_accepts_the_units(units: list[Path]) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@needs("systemd-analyze", "systemd")
def test_the_services_are_shut_in(units: list[Path]) -> None:
    """systemd rates the exposure of each service 2.5 or lower.

    The scale is from 0 (a compromised service reaches nothing) to 10 (it reaches everything).
    """
    for unit in units:
        if unit.suffix == ".service":
            # systemd-analyze reads no drop-ins of units that are named by their path.
            unit.write_text(f"{unit.read_text()}\n{(unit.parent / COMMON.parent.name / COMMON.name).read_text()}")
            rating = ["systemd-analyze", "security", "--offline=true", "--threshold=25", "--no-pager", str(unit)]
            done = subprocess.run(rating, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout[-300:] + done.stderr


# The documented servers behind the documented nginx, with https


@pytest.mark.slow
@needs("nginx", "nginx-light")
@pytest.mark.parametrize("unit", ["payments-web@.service", "payments-web-daphne@.service"])
def test_a_site_behind_nginx(unit: str, make_site: Callable[..., LiveSite], tmp_path: Path) -> None:
    port = free_port()
    nginx = Nginx(tmp_path, port, free_port())
    site = make_site(start=False, SITE_URL=f"https://{NAME}", ALLOWED_HOSTS=NAME)
    web = Process("web", unit_command(unit, port), port, tmp_path / "web.log", site.settings, cwd=ROOT)
    with running(web), running(nginx.process):
        signed_out_pages_are_secure(nginx)
        sockets_reach_the_site(nginx)
        assert nginx.ask("POST", "/stripe/webhook/", b"{}")[0].status == 400
        check = [sys.executable, str(DEPLOY / "healthcheck.py")]
        for path, status in (("/livez", 0), ("/nowhere/", 1)):
            url = f"http://{HOST}:{port}{path}"
            assert subprocess.run([*check, url], env=site.settings, check=False).returncode == status
    assert subprocess.run([*check, url], env=site.settings, check=False, capture_output=True).returncode == 1
    assert "Traceback" not in web.log()
    assert "Moreau" not in web.log()


def signed_out_pages_are_secure(nginx: Nginx) -> None:
    answer, _ = nginx.ask("GET", "/login/?next=/desk/%3Fq=Moreau")
    assert answer.status == 200
    assert answer.headers["Set-Cookie"].startswith("__Host-csrftoken=")
    assert "; Secure" in answer.headers["Set-Cookie"]
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=31536000")
    assert f"wss://{NAME}" in answer.headers["Content-Security-Policy"]
    plain = http.client.HTTPConnection(HOST, nginx.http, timeout=60)
    plain.request("GET", "/login/", headers={"Host": NAME})
    redirect = plain.getresponse()
    assert (redirect.status, redirect.headers["Location"]) == (301, f"https://{NAME}/login/")
    plain.close()


def sockets_reach_the_site(nginx: Nginx) -> None:
    def open_socket(origin: str) -> None:
        url = f"wss://{NAME}/ws/payments/"
        here = Origin(origin)
        with nginx.socket() as at, connect(url, sock=at, ssl=nginx.tls, origin=here, open_timeout=60) as client:
            client.recv(60)

    with pytest.raises(ConnectionClosed) as signed_out:
        open_socket(f"https://{NAME}")
    assert signed_out.value.rcvd
    assert signed_out.value.rcvd.code == 4401
    with pytest.raises(InvalidStatus) as refused:
        open_socket("https://evil.example")
    assert refused.value.response.status_code == 403


# Draining: taking a server out of nginx's list


def drain(upstream: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "UPSTREAM": str(upstream), "NGINX_PROGRAM": "true"}
    return subprocess.run([DEPLOY / "drain.sh", *arguments], env=env, capture_output=True, text=True, check=False)


def test_a_server_is_drained_and_put_back(tmp_path: Path) -> None:
    shipped = (DEPLOY / "nginx/upstream.conf").read_text()
    upstream = tmp_path / "upstream.conf"
    upstream.write_text(shipped)
    for _ in range(2):  # sending the signal twice must do no harm
        assert drain(upstream, "down", "127.0.0.1:8001").returncode == 0
        assert upstream.read_text() == shipped.replace("8001 max_fails=0;", "8001 max_fails=0 down;")
    last = drain(upstream, "down", "127.0.0.1:8002")
    assert last.returncode == 1
    assert "the only server left" in last.stderr
    for _ in range(2):
        assert drain(upstream, "up", "127.0.0.1:8001").returncode == 0
        assert upstream.read_text() == shipped


@pytest.mark.parametrize(("arguments", "status"), [(["down"], 2), (["flip", "127.0.0.1:8001"], 2), (["up", "x:1"], 1)])
def test_draining_says_what_is_wrong(arguments: list[str], status: int, tmp_path: Path) -> None:
    upstream = tmp_path / "upstream.conf"
    shutil.copy(DEPLOY / "nginx/upstream.conf", upstream)
    done = drain(upstream, *arguments)
    assert done.returncode == status
    assert done.stderr
    assert upstream.read_text() == (DEPLOY / "nginx/upstream.conf").read_text()


def test_draining_works_on_the_containers_list_as_well(tmp_path: Path) -> None:
    upstream = tmp_path / "upstream.conf"
    shutil.copy(DEPLOY / "nginx/upstream.compose.conf", upstream)
    assert drain(upstream, "down", "web-a:8000").returncode == 0
    assert "server web-a:8000 max_fails=0 down;" in upstream.read_text()


# The container


def test_every_container_has_limits_and_says_whether_it_is_well() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    for name, service in compose["services"].items():
        assert service["logging"]["options"] == {"max-size": "10m", "max-file": "5"}, name
        assert service["mem_limit"], name
        own_or_of_the_image = service.get("healthcheck", {"test": "deploy/healthcheck.py, in the Dockerfile"})
        assert own_or_of_the_image.get("test") or name in ("migrate", "backup"), name
    for volume in compose["volumes"]:
        assert any(volume in str(service.get("volumes")) for service in compose["services"].values()), volume


def test_the_image_dumps_with_the_major_version_of_the_composed_postgresql() -> None:
    server = re.findall(r"image: postgres:(\d+)", (DEPLOY / "compose.yaml").read_text())
    client = re.findall(r"postgresql-client-(\d+)", (DEPLOY / "Dockerfile").read_text())
    assert server == client


def build_context() -> Iterator[Path]:
    """Yield the files that Docker would send as the build context: those that the .dockerignore file doesn't exclude.

    The last matching pattern decides. Paths are relative to the checkout.
    """
    patterns = [
        line for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line and line[0] != "#"
    ]
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        path = Path(name)
        names = [str(path), *map(str, path.parents)]
        kept = True
        for pattern in patterns:
            if any(fnmatch(each, pattern.lstrip("!")) for each in names):
                kept = pattern.startswith("!")
        if kept and (ROOT / path).is_file():
            yield path


@pytest.mark.nightly
@needs("git", "git")
def test_the_image_holds_all_that_the_site_needs_and_no_sandbox(tmp_path: Path) -> None:
    context = list(build_context())
    folders = {path.parts[0] for path in context}
    assert {"payments", "appointments", "payments_site", "templates", "static", "locale"} <= folders
    assert not {"tests", "stripe_sandbox", ".git"} & folders
    for path in context:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    for source in re.findall(r"^COPY (?!--from)((?:\S+ )+)\S+$", dockerfile, re.M):
        assert all((tmp_path / name).exists() for name in source.split()), source
    without_sandbox = "import sys; sys.modules.update(aiohttp=None, jinja2=None); "
    for command in ("collectstatic --noinput", "check --fail-level ERROR"):
        manage = f"{without_sandbox} sys.argv[1:] = {command.split()!r}; exec(open('manage.py').read())"
        env = {"PATH": os.environ["PATH"], "DEBUG": "1", "STATIC_FROM_SOURCE": "0", "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [sys.executable, "-c", manage], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert list((tmp_path / "staticfiles/payments/js").glob("live-source.*.js.gz"))
