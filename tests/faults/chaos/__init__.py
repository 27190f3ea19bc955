"""`./run chaos` breaks real processes, sockets and pages while events arrive, and checks that everything recovers.

It follows https://jepsen.io: a generator of signed events, one or several faults, recovery, and checks.
"""
