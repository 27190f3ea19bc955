"""Faults in real processes, sockets and pages while Stripe keeps on telling: `./run chaos`.

In the shape of https://jepsen.io: a generator of signed events, one fault at a time or several, healing, checkers.
"""
