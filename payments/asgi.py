"""What a project's asgi.py puts around Django: Stripe's webhook, the WebSocket of open pages, and other apps' requests.

Models are imported when `routes` is called, because asgi.py imports this module before Django is set up.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .gateway.asgi import App, Receive, Scope, Send

# Dotted paths of functions that other apps put around the project's application: each takes an ASGI application for
# HTTP requests and returns one. An app adds its own in AppConfig.ready.
WRAPPERS: list[str] = []


def routes(pages: "App", sockets: "App | None" = None) -> "App":
    """Return an ASGI application that serves the webhook and the WebSocket of payments, wherever they are mounted.

    It passes other HTTP requests on to `pages`, which is the result of Django's get_asgi_application(), and other
    WebSockets to `sockets`; without it they are refused. Raises ImproperlyConfigured if the URLs of payments aren't
    mounted.
    """
    from django.utils.module_loading import import_string

    from .consumers import socket_app
    from .gateway.asgi import webhook_app

    for wrapper in WRAPPERS:
        wrap: Callable[[App], App] = import_string(wrapper)
        pages = wrap(pages)
    http, websocket = webhook_app(pages), socket_app(sockets)

    async def app(scope: "Scope", receive: "Receive", send: "Send") -> None:
        await (websocket if scope["type"] == "websocket" else http)(scope, receive, send)

    return app
