"""``podway agent``: puts the parts together, runs them, and ends them in order."""

import argparse
import asyncio
import contextlib
import errno
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator
from functools import partial
from pathlib import Path

from podway.agent.agent import Agent
from podway.agent.attachments import Attachments
from podway.agent.cni_server import CniServer
from podway.agent.gauges import watch_agent, watch_store
from podway.agent.health import not_ready_reasons
from podway.agent.ledger import Ledger
from podway.agent.metrics import CONTENT_TYPE, Metrics
from podway.agent.operators import Operators
from podway.agent.places import AGENT_SOCKET, CNI_SOCKET, LEDGER
from podway.agent.settings import Settings, add_arguments, settings_from, wireguard_key_file
from podway.agent.takeover import TakeOver
from podway.errors import ArgumentError, ConfigError, PodwayError, exit_code
from podway.kernel.forward_chain import ForwardChain
from podway.kernel.http import HttpEndpoint, Response
from podway.kernel.logs import configure_logging, get_log
from podway.kernel.node import NodeKernel
from podway.kernel.pods import check_pod
from podway.kernel.systemd import is_supervised, notify, watchdog_interval_s
from podway.model.instances import Instance
from podway.store.access import PASSWORD_VARIABLE, access_from
from podway.store.engines import open_store

__all__ = ["add_arguments", "is_running", "only_one", "run", "serve"]

# How often systemd's question is looked at whose answer is not yet "ready".
UNREADY_LOOK_S = 1.0


def run(arguments: argparse.Namespace) -> int:
    """Run the agent until a signal ends it; return the exit code."""
    settings = settings_from(arguments)
    configure_logging(settings.log_level, settings.log_format, sys.stderr)
    return serve(settings)


def serve(settings: Settings) -> int:
    """Run the agent that *settings* mean until a signal ends it; return the exit code."""
    log = get_log("podway.agent")
    try:
        with only_one(settings.names):
            asyncio.run(_serve(settings))
    except PodwayError as error:
        log.error("cannot go on", reason=str(error))  # noqa: TRY400  (for people, no traceback)
        return exit_code(error)
    except ExceptionGroup as group:
        known, faults = group.split(PodwayError)
        if known is None or faults is not None:
            raise
        for cause in _causes(known):
            log.error("cannot go on", reason=str(cause))  # noqa: TRY400
        return 1
    return 0


@contextlib.contextmanager
def only_one(names: Instance) -> Iterator[None]:
    """Hold, while the body runs, what no two agents of a network namespace may have in common.

    Two with the same marks would sweep each other's devices and routes away. An abstract Unix
    socket belongs to the network namespace (unix(7)), as devices and routes do, and ends with its
    process.

    Raises:
        ConfigError: another agent has it.
    """
    with socket.socket(socket.AF_UNIX) as lock:
        try:
            lock.bind(f"\0{_lock_name(names)}")
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            rule = (
                f"another agent of this network namespace marks its routes with protocol "
                f"{names.marks.protocol}, too: give this one another name (--instance)"
            )
            raise ConfigError("--instance", names.name, rule) from error
        yield


def is_running(names: Instance) -> bool:
    """Tell whether an agent (or who takes its place for a while) holds that, without taking it."""
    rows = Path("/proc/self/net/unix").read_text(encoding="utf-8", errors="replace").splitlines()
    return any(row.endswith(f" @{_lock_name(names)}") for row in rows)


def _lock_name(names: Instance) -> str:
    return f"podway/agent/{names.marks.protocol}"


def _causes(error: Exception) -> Iterator[Exception]:
    """Yield what went wrong, without the groups around it."""
    if isinstance(error, ExceptionGroup):
        for inner in error.exceptions:
            yield from _causes(inner)
    else:
        yield error


async def _serve(settings: Settings) -> None:
    metrics = Metrics()
    ledger = Ledger(settings.state_dir / LEDGER)
    try:
        store = open_store(settings.store, access_from(settings))
        # It has read it; programs that the agent starts have no business with it.
        os.environ.pop(PASSWORD_VARIABLE, None)
        watch_store(getattr(store, "counts", None), metrics)
        open_kernel = partial(
            NodeKernel,
            run_dir=settings.run_dir,
            wireguard_key=wireguard_key_file(settings),
            marks=settings.names.marks,
        )
        log = get_log("podway.agent")
        take_over = TakeOver(settings.names, log) if settings.take_over else None
        forward = ForwardChain(settings.names.marks)
        agent = Agent(
            settings, store, ledger, open_kernel, metrics, take_over=take_over, forward=forward
        )
        await _run_until_signal(settings, agent, metrics)
    finally:
        ledger.close()


async def _run_until_signal(settings: Settings, agent: Agent, metrics: Metrics) -> None:
    attachments = Attachments(agent, check_pod)
    watch_agent(agent, metrics)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    endpoint = await _serve_http(settings, agent, metrics)
    try:
        # Servers end before the agent: a call that is under way needs it to come to its end.
        async with (
            _running(agent.run()),
            _running(
                CniServer(settings.run_dir / CNI_SOCKET, attachments, metrics).run(),
                Operators(settings.run_dir / AGENT_SOCKET, agent, attachments).run(),
                _tell_systemd(agent),
            ),
        ):
            await ended.wait()
            notify("STOPPING=1")
    finally:
        if endpoint is not None:
            await endpoint.close()


@contextlib.asynccontextmanager
async def _running(*works: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Have *works* done while the body runs, and end them with it; one that fails ends all."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(work) for work in works]
        yield
        for task in running:
            task.cancel()


async def _serve_http(settings: Settings, agent: Agent, metrics: Metrics) -> HttpEndpoint | None:
    if not settings.http:
        return None
    host, _, port = settings.http.rpartition(":")
    if not port.isdigit():
        raise ArgumentError("--http", settings.http, "must be ADDRESS:PORT")
    endpoint = HttpEndpoint(
        {
            "/metrics": lambda: Response(metrics.render(), content_type=CONTENT_TYPE),
            "/healthz": lambda: Response(b"ok\n"),
            "/readyz": lambda: _readiness(agent),
        }
    )
    try:
        await endpoint.start(host.strip("[]"), int(port))
    except OSError as error:
        raise ConfigError("--http", settings.http, f"cannot listen there: {error}") from error
    return endpoint


def _readiness(agent: Agent) -> Response:
    reasons = not_ready_reasons(agent)
    if not reasons:
        return Response(b"ready\n")
    return Response("".join(f"{reason}\n" for reason in reasons).encode(), 503)


async def _tell_systemd(agent: Agent) -> None:
    """Say READY once the node is, then how it fares and that it lives."""
    if not is_supervised():
        return
    interval_s = min(watchdog_interval_s() or 5.0, 5.0)
    said = False
    while True:
        reasons = not_ready_reasons(agent)
        if not reasons and not said:
            said = notify("READY=1")
        notify("WATCHDOG=1", f"STATUS={'; '.join(reasons) or 'ready'}")
        # Not all that it waits for ends with a pass (a program that was tried again, for one).
        # Not wait_for: in Python 3.11 it loses a cancellation that comes with the event.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(interval_s if said else UNREADY_LOOK_S):
                await agent.passed()
