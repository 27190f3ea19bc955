"""`python deploy/healthcheck.py [URL]` exits with 0 if the web process answers with 200.

It asks the process directly, not through the proxy.
"""

import os
import sys
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

site = urlsplit(os.environ.get("SITE_URL", "http://127.0.0.1"))
url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000/livez"
# These are nginx's headers: the site refuses any other Host and redirects plain HTTP.
as_nginx = {"Host": site.netloc, "X-Forwarded-Proto": site.scheme}

try:
    with urlopen(Request(url, headers=as_nginx), timeout=4) as answer:  # noqa: S310 the operator's own URL
        sys.exit(answer.status != 200)
except OSError as error:
    sys.exit(f"{url}: {error}")
