"""Notes and coins, for counting cash piece by piece."""

# Their values in minor units, the greatest first, by currency. Cash in another currency is counted as one sum.
PIECES: dict[str, tuple[int, ...]] = {
    "eur": (50_000, 20_000, 10_000, 5000, 2000, 1000, 500, 200, 100, 50, 20, 10, 5, 2, 1),
    "chf": (100_000, 20_000, 10_000, 5000, 2000, 1000, 500, 200, 100, 50, 20, 10, 5),
    "gbp": (5000, 2000, 1000, 500, 200, 100, 50, 20, 10, 5, 2, 1),
    "usd": (10_000, 5000, 2000, 1000, 500, 200, 100, 50, 25, 10, 5, 1),
    "jpy": (10_000, 5000, 2000, 1000, 500, 100, 50, 10, 5, 1),
}
