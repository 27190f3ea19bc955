import json
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer
from django.template.loader import render_to_string


class PaymentConsumer(AsyncWebsocketConsumer):
    """A page's WebSocket. Each one renders the template for every message of its group, as tutorials do."""

    group = ""

    async def connect(self) -> None:
        user = self.scope["user"]
        if not user.is_authenticated:
            await self.close(4401)
            return
        self.group = "staff" if user.is_staff else f"patient.{user.pk}"
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()
        await self.send(json.dumps({"t": "hello", "seq": 0}))

    async def disconnect(self, code: int) -> None:
        if self.group:
            await self.channel_layer.group_discard(self.group, self.channel_name)

    async def payment_changed(self, event: dict[str, Any]) -> None:
        html = render_to_string("payment.html", {"payment": event["payment"]})
        await self.send(json.dumps({"html": html}))
