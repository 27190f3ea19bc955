"""`python -m benchmarks.peers.usual.stripe_api PORT` imitates Stripe's API for dj-stripe, without network latency."""

import asyncio
import json
import sys
import time

from benchmarks.events import ACCOUNT, AMOUNT, CURRENCY, HOST, session_object


def stripe_object(path: str) -> dict[str, object] | None:
    """Return the Stripe object at a path such as /v1/checkout/sessions/<id>, or None for an unknown path.

    Ids of Checkout Sessions and PaymentIntents contain the payment's id, from which the object is made.
    """
    name = path.split("?")[0].rsplit("/", 1)[-1]
    tag = name.rsplit("_", 1)[-1]
    key = "-".join((tag[:8], tag[8:12], tag[12:16], tag[16:20], tag[20:]))
    if name.startswith("cs_test_"):
        return session_object(key)
    if name.startswith("pi_"):
        return {
            "id": name, "object": "payment_intent", "amount": AMOUNT, "amount_capturable": 0, "amount_received": AMOUNT,
            "currency": CURRENCY, "status": "succeeded", "created": int(time.time()) - 60, "livemode": False,
            "metadata": {"payment_id": key}, "customer": None, "payment_method": None, "latest_charge": None,
            "capture_method": "automatic", "confirmation_method": "automatic", "payment_method_types": ["card"],
        }  # fmt: skip
    if path.startswith("/v1/account"):
        return {"id": ACCOUNT, "object": "account", "type": "standard", "created": 1700000000, "livemode": False}
    return None


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            found = stripe_object(head.split(b" ", 2)[1].decode())
            if found is None:
                print(head.split(b"\r\n")[0], flush=True)
            body = json.dumps(found or {"error": {"type": "invalid_request_error", "message": "unknown"}}).encode()
            status = "200 OK" if found else "404 Not Found"
            lines = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(lines.encode() + body)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def serve(port: int) -> None:
    server = await asyncio.start_server(answer, HOST, port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
