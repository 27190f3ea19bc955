"""The faults of a chaos run: each breaks something, such as a process or a connection, and repairs it."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass

import psycopg

from tests import services
from tests.faults.chaos.world import World
from tests.faults.processes import family
from tests.faults.redis_orders import admit, refuse

Break = Callable[[World], AbstractContextManager[None]]


@dataclass(frozen=True)
class Fault:
    name: str
    breaks: Break
    seconds: tuple[float, float]  # its shortest and longest duration

    @property
    def victim(self) -> str:
        return self.name.partition(":")[0]


FAULTS: list[Fault] = []


def fault(
    name: str, shortest: float = 0.5, longest: float = 2.5
) -> Callable[[Callable[[World], Iterator[None]]], Fault]:
    """Return a decorator that registers a generator function as the fault `name`.

    The function breaks something, yields, and repairs it. The fault lasts from `shortest` to `longest` seconds.
    """

    def register(breaks: Callable[[World], Iterator[None]]) -> Fault:
        FAULTS.append(Fault(name, contextmanager(breaks), (shortest, longest)))
        return FAULTS[-1]

    return register


@fault("web process: kill -9")
def web_killed(world: World) -> Iterator[None]:
    web = world.chance.choice(world.webs)
    web.kill()
    yield
    web.start()


@fault("web process: SIGTERM")
def web_stopped(world: World) -> Iterator[None]:
    web = world.chance.choice(world.webs)
    web.stop(seconds=3)
    yield
    web.start()


@fault("web process: frozen", 1, 4)
def web_frozen(world: World) -> Iterator[None]:
    web = world.chance.choice(world.webs)
    web.freeze()
    yield
    web.thaw()


@fault("Redis: kill -9, returns empty")
def redis_killed(world: World) -> Iterator[None]:
    world.redis.kill()
    yield
    world.redis.start()


@fault("Redis: frozen", 1, 4)
def redis_frozen(world: World) -> Iterator[None]:
    world.redis.freeze()
    yield
    world.redis.thaw()


@fault("Redis: connections reset")
def redis_reset(world: World) -> Iterator[None]:
    world.wire.reset()
    yield


@fault("Redis: fails over to another")
def redis_failed_over(world: World) -> Iterator[None]:
    """Put another Redis, which knows no subscriptions, behind the site's Redis address, as a failover does."""
    with services.redis() as other:
        world.wire.backends = [int(other.url.rsplit(":", 1)[1].split("/")[0])]
        world.redis.kill()
        world.wire.reset()
        yield
        world.redis.start()
        world.wire.backends = [world.redis.port]
        world.wire.reset()


@fault("Redis: refuses everybody", 1, 4)
def redis_refuses(world: World) -> Iterator[None]:
    """Give Redis a password that the site doesn't know, and close the site's connections."""
    refuse(world.redis.port)
    yield
    admit(world.redis.port)


@fault("channel layer: messages lost", 1, 4)
def messages_lost(world: World) -> Iterator[None]:
    world.wire.swallowing = True
    yield
    world.wire.swallowing = False
    world.wire.reset()  # the stream may have been cut inside a message


@fault("sockets: cut without FIN")
def sockets_forgotten(world: World) -> Iterator[None]:
    world.front.forget()
    yield


@fault("sockets: reset")
def sockets_reset(world: World) -> Iterator[None]:
    world.front.reset()
    yield


@fault("tab: hidden and frozen", 1, 4)
def tab_asleep(world: World) -> Iterator[None]:
    world.screens[1].sleep()
    yield
    world.screens[1].wake()


@fault("browser: offline")
def browser_offline(world: World) -> Iterator[None]:
    world.screens[0].context.set_offline(True)
    yield
    world.screens[0].context.set_offline(False)


@fault("PostgreSQL: restart -m immediate")
def postgres_restarted(world: World) -> Iterator[None]:
    world.postgres.stop(sent=signal.SIGQUIT)
    yield
    world.postgres.start()


@fault("PostgreSQL: frozen", 1, 6)
def postgres_frozen(world: World) -> Iterator[None]:
    processes = family(world.postgres.pid)
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    yield
    for pid in processes:
        os.kill(pid, signal.SIGCONT)


@fault("PostgreSQL: a payment locked", 1, 5)
def row_locked(world: World) -> Iterator[None]:
    locked = world.chance.choice(world.lives).public_id
    with ExitStack() as held:
        with suppress(psycopg.OperationalError):  # if PostgreSQL is down or frozen too, nothing is locked
            connection = held.enter_context(closing(psycopg.connect(world.database_url, connect_timeout=2)))
            connection.execute("SELECT 1 FROM clinic_payments_payment WHERE public_id = %s FOR UPDATE", [locked])
        yield


@fault("webhooks: flood of false signatures", 2, 5)
def flood(world: World) -> Iterator[None]:
    """Post forged events from two threads; each thread posts the next one as soon as the last was refused."""
    over = threading.Event()

    def send() -> None:
        while not over.is_set():
            world.clinic.tell({"id": "evt_forged", "padding": "x" * 20_000}, world.web_urls[0], secret="whsec_wrong")
            time.sleep(0.005)

    senders = [threading.Thread(target=send) for _ in range(2)]
    for sender in senders:
        sender.start()
    yield
    over.set()
    for sender in senders:
        sender.join()


CLASSIC = [
    web_killed,
    redis_killed,
    redis_frozen,
    messages_lost,
    sockets_forgotten,
    tab_asleep,
    postgres_restarted,
]
