"""A bare Debian machine for tests of deploy/: a root made by debootstrap, booted with systemd in a network of its own.

What needs the internet, packages of Debian and of Python, is fetched before it is booted. Only root can make one.
"""

import os
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from payments_site.demo.site import ROOT
from tests.waits import wait_until

ORIGIN, CLONE = "/srv/payments-live.git", "/root/payments-live"
CERTIFICATES = "/etc/host-certificates.pem"
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}


def mirror() -> str:
    """Return the address from which this machine gets Debian's packages."""
    form = "$(SITE) $(CODENAME) $(ORIGIN)"
    listed = subprocess.run(["apt-get", "indextargets", "--format", form], capture_output=True, text=True, check=True)
    lines = listed.stdout.splitlines()
    return next(line.split()[0] for line in lines if line.endswith(" Debian") and "security" not in line)


def debootstrap(root: Path, suite: str, packages: str) -> None:
    """Make a root with a Debian `suite` in the folder `root`, which gets packages as this machine does."""
    made: list[str | Path] = ["debootstrap", "--variant=minbase", f"--include={packages}", suite, root, mirror()]
    subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
    settings = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
    acquire = [line for line in settings.splitlines() if line.startswith("Acquire::")]
    (root / "etc/apt/apt.conf.d/99host").write_text("\n".join(acquire) + "\n")


class BareMachine:
    """A Debian `suite`, such as bookworm, in the folder `root`.

    ORIGIN is a repository with this checkout's last commit, which the page that is followed clones to CLONE.
    """

    def __init__(self, root: Path, suite: str) -> None:
        self.root = root
        self._leader = 0
        debootstrap(root, suite, "ca-certificates,dbus,systemd,systemd-sysv")
        self.write("/etc/apt/sources.list", f"deb {mirror()} {suite} main\n")
        self.write("/etc/resolv.conf", Path("/etc/resolv.conf").read_text())
        self.write(CERTIFICATES, Path(str(ssl.get_default_verify_paths().cafile)).read_text())
        self.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", mode=0o755)  # starts nothing before it is booted
        subprocess.run(["git", "clone", "-q", "--bare", ROOT, f"{root}{ORIGIN}"], check=True)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        file = Path(f"{self.root}{path}")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def fetch(self, script: str) -> None:
        """Run this script in the root, before it is booted, with this machine's network."""
        certificates = {"PIP_CERT": CERTIFICATES, "SSL_CERT_FILE": CERTIFICATES}
        command: list[str | Path] = ["chroot", self.root, "bash", "-ec", script]
        subprocess.run(command, env=ENVIRONMENT | certificates, check=True, stdin=subprocess.DEVNULL)

    @contextmanager
    def booted(self) -> Iterator[None]:
        """Boot the machine with systemd, and shut it down afterwards. Its network has no other machine."""
        Path(f"{self.root}/usr/sbin/policy-rc.d").unlink(missing_ok=True)
        boot = ["systemd-nspawn", "--register=no", "--keep-unit", "--private-network", "--console=pipe", "--boot"]
        environment = {**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
        quiet = subprocess.DEVNULL
        boot.append(f"--directory={self.root}")
        nspawn = subprocess.Popen(boot, env=environment, stdin=quiet, stdout=quiet, stderr=quiet)
        try:
            wait_until(lambda: self._has_booted(nspawn.pid), "the machine has booted")
            yield
        finally:
            nspawn.terminate()
            nspawn.wait(60)

    def _has_booted(self, nspawn: int) -> bool:
        children = Path(f"/proc/{nspawn}/task/{nspawn}/children").read_text().split()
        if not children:
            return False
        self._leader = int(children[0])
        return self.run("systemctl is-system-running", check=False).stdout.strip() in ("running", "degraded")

    def command(self, script: str, **environment: str) -> list[str]:
        """Return the command that runs this script in the booted machine, in the clone's folder."""
        variables = [f"{name}={value}" for name, value in (ENVIRONMENT | environment).items()]
        inside = ["nsenter", "--target", str(self._leader), "--all", "--root", "--wd"]
        return [*inside, "env", "-i", *variables, "bash", "-c", f"cd {CLONE}; {script}"]

    def run(self, script: str, *, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run this script in the booted machine, and return what it printed, also on standard error."""
        done = subprocess.run(
            self.command(script, **environment), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{script}\n{done.stdout}"
        return done
