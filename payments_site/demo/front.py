"""The reverse proxy in front of several web processes: nginx, or proxy.py if nginx is not installed."""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from payments_site.demo.process import HOST, Process

# For production, see deploy/nginx/. With max_fails=0, nginx doesn't mark workers as failed: a killed worker refuses
# connections at once, so nginx tries the next worker. If it marked all workers, it would answer 502 for a while.
NGINX = """\
daemon off;
pid nginx.pid;
error_log stderr crit;
events {}
http {
    access_log off;
    client_body_temp_path nginx/body; proxy_temp_path nginx/proxy;
    fastcgi_temp_path nginx/fastcgi; uwsgi_temp_path nginx/uwsgi; scgi_temp_path nginx/scgi;
    map $http_upgrade $connection_upgrade { default upgrade; "" ""; }
    upstream workers { %(workers)s }
    server {
        listen %(host)s:%(port)s;
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_connect_timeout 2s;
        proxy_read_timeout 75s;  # the site writes to each WebSocket every 10 s
        proxy_next_upstream error timeout;
        location / { proxy_pass http://workers; }
        location /stripe/webhook {
            # A webhook may be retried, because the site applies an event only once.
            proxy_next_upstream error timeout non_idempotent;
            proxy_pass http://workers;
        }
    }
}
"""


def front(folder: Path, port: int, workers: Sequence[int]) -> Process:
    """Return the reverse proxy's process, not started yet. It forwards `port` to the ports in `workers`."""
    ports = [str(worker) for worker in workers]
    proxy = [sys.executable, "-m", "payments_site.demo.proxy", str(port), *ports]
    return Process("front", _nginx(folder, port, ports) or proxy, port, folder / "front.log", {})


def _nginx(folder: Path, port: int, workers: Sequence[str]) -> list[str]:
    if not (program := shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")):
        return []
    (folder / "nginx").mkdir(exist_ok=True)
    servers = " ".join(f"server {HOST}:{worker} max_fails=0;" for worker in workers)
    conf = folder / "nginx.conf"
    conf.write_text(NGINX % {"host": HOST, "port": port, "workers": servers})
    user = ["-g", "user root;"] if os.geteuid() == 0 else []
    return [program, "-e", "stderr", "-p", str(folder), "-c", str(conf), *user]
