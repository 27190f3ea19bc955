"""Creates a Checkout Session's line items, and the products and prices that they describe in `price_data`."""

from stripe_sandbox.errors import StripeError, missing_param
from stripe_sandbox.params import integer
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Json


def create(sandbox: Sandbox, index: int, given: Json) -> Json:
    """Create a line item from `given`, which has a `quantity` and either `price` (an id) or `price_data`.

    `index` is the item's position, which error messages name. Raises StripeError if a parameter is missing or invalid.
    """
    price = _price(sandbox, f"line_items[{index}]", given)
    quantity = integer(given, "quantity")
    if quantity is None:
        raise missing_param(f"line_items[{index}][quantity]")
    total = price["unit_amount"] * quantity
    return sandbox.new(
        "item",
        amount_subtotal=total,
        amount_total=total,
        currency=price["currency"],
        description=sandbox.store.get("product", price["product"])["name"],
        price=price,
        quantity=quantity,
    )


def _price(sandbox: Sandbox, where: str, given: Json) -> Json:
    if given.get("price"):
        return sandbox.store.get("price", given["price"], f"{where}[price]")
    data = given.get("price_data")
    if not isinstance(data, dict):
        raise missing_param(f"{where}[price_data]")
    if not data.get("product"):
        details = data.get("product_data") or {}
        data = data | {"product": create_product(sandbox, details, f"{where}[price_data][product_data]")["id"]}
    return create_price(sandbox, data, f"{where}[price_data]")


def create_product(sandbox: Sandbox, params: Json, where: str = "") -> Json:
    if not params.get("name"):
        raise missing_param(f"{where}[name]" if where else "name")
    values = {key: params[key] for key in ("name", "description", "images", "metadata") if params.get(key)}
    return sandbox.new("product", updated=sandbox.now(), **values)


def create_price(sandbox: Sandbox, params: Json, where: str = "") -> Json:
    for name in ("currency", "unit_amount", "product"):
        if params.get(name) in (None, ""):
            raise missing_param(f"{where}[{name}]" if where else name)
    amount = integer(params, "unit_amount")
    if amount is None or amount < 0:
        raise StripeError(
            "Invalid non-negative integer", code="parameter_invalid_integer", param=f"{where}[unit_amount]"
        )
    return sandbox.new(
        "price",
        currency=params["currency"].lower(),
        product=sandbox.store.get("product", params["product"], "product")["id"],
        unit_amount=amount,
        unit_amount_decimal=str(amount),
        metadata=params.get("metadata") or {},
        active=where == "",
    )
