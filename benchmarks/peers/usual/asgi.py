import os
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.peers.usual.settings")
django_application: Any = get_asgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import path  # noqa: E402

from benchmarks.peers.usual.clinic.consumers import PaymentConsumer  # noqa: E402

sockets = AuthMiddlewareStack(URLRouter([path("ws/payments/", PaymentConsumer.as_asgi())]))
application = ProtocolTypeRouter({"http": django_application, "websocket": sockets})
