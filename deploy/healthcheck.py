"""`python deploy/healthcheck.py [URL]`: exit status 0 when a web process answers; without the proxy in between."""

import os
import sys
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

site = urlsplit(os.environ.get("SITE_URL", "http://127.0.0.1"))
url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000/livez"
# Spoken to as nginx speaks to it: any other Host is refused, and plain HTTP is redirected.
as_nginx = {"Host": site.netloc, "X-Forwarded-Proto": site.scheme}

try:
    with urlopen(Request(url, headers=as_nginx), timeout=4) as answer:  # noqa: S310 the operator's own URL
        sys.exit(answer.status != 200)
except OSError as error:
    sys.exit(f"{url}: {error}")
