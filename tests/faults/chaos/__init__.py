"""`./run chaos` breaks real processes, sockets and pages while events arrive, and checks that everything recovers.

It works like https://jepsen.io: it posts generated events, injects faults, waits for recovery, and checks the result.
"""
