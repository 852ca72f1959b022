"""Whether this node serves pods, and a pod has what it was promised: CNI's STATUS and CHECK.

In: the agent's state, and for a CHECK what the runtime remembers of the answer to its ADD. Out:
nothing, or a `CniError` with the number and the sentence for the runtime. Nothing is changed here.
"""

from collections.abc import Callable, Sequence

from podway.agent.agent import Agent
from podway.agent.health import not_ready_reasons, not_serving_reasons
from podway.agent.wishes import against_previous
from podway.cni.errors import (
    FIRST_PLUGIN_CODE,
    INVALID_CONFIG,
    LIMITED_CONNECTIVITY,
    TRY_AGAIN_LATER,
    UNAVAILABLE,
    CniError,
)
from podway.cni.requests import Request
from podway.compute.node import Place
from podway.diff.tracker import Failure
from podway.model.endpoints import Endpoint
from podway.model.kernel import Link, PodSide, Veth, link_key

# Of podway's own codes (SPEC: from 100 on) the first two are ADD's (`attachments`).
CHECK_FAILED = FIRST_PLUGIN_CODE + 2


def serving_place(agent: Agent, code: int) -> Place:
    """Return where the node stands. Raises `CniError` with *code* while it cannot serve pods."""
    place = agent.desires.place
    if place is None:
        reasons = not_ready_reasons(agent) or ["the agent has just started"]
        raise CniError(code, f"this node cannot serve pods yet: {'; '.join(reasons)}")
    return place


def check_ours(agent: Agent) -> None:
    """Refuse to give addresses away that another plugin gives away, too."""
    if agent.settings.foreign_pods:
        text = (
            "this agent leaves its node's pods to other plugins (--foreign-pods): use the "
            "plugin flannel, or drain the node and start the agent without"
        )
        raise CniError(INVALID_CONFIG, text)


def check_status(agent: Agent) -> None:
    """STATUS: an ADD would be served, with an address of each family."""
    check_ours(agent)
    place = serving_place(agent, UNAVAILABLE)
    for pool in agent.ipam.pools.values():
        if pool.used >= pool.size:
            text = f"all {pool.size} pod addresses of {pool.subnet} are in use"
            raise CniError(UNAVAILABLE, text)
    reasons = not_serving_reasons(agent)
    if reasons:
        raise CniError(UNAVAILABLE, f"node {place.me.name}: {'; '.join(reasons)}")
    if agent.tracker.failures:
        reasons = not_ready_reasons(agent)
        raise CniError(LIMITED_CONNECTIVITY, f"node {place.me.name}: {'; '.join(reasons)}")


async def check_endpoint(
    agent: Agent,
    endpoint: Endpoint,
    request: Request,
    failures: Sequence[Failure],
    check_pod: Callable[[PodSide], list[str]],
) -> None:
    """CHECK: compare what was promised with the ledger, the host's side and the pod's side.

    Args:
        agent: which has just looked at the host's side.
        endpoint: as the ledger has it.
        request: holds the earlier answer.
        failures: what could not be put right on the host's side.
        check_pod: returns what is wrong inside a pod's namespace; called in the kernel's thread.
    """
    key = endpoint.key
    problems = against_previous(request, endpoint)
    problems += [str(failure.error) for failure in failures]
    if agent.lookout.error:
        raise CniError(TRY_AGAIN_LATER, f"the kernel fails: {agent.lookout.error}")
    if agent.endpoints.is_detached(key):
        problems.append(f"its namespace {endpoint.netns} is gone")
    link = agent.tracker.desired(link_key(endpoint.host_ifname))
    if isinstance(link, Link) and isinstance(link.kind, Veth) and link.kind.pod is not None:
        problems += await agent.in_kernel_thread(check_pod, link.kind.pod)
    if problems:
        raise CniError(CHECK_FAILED, f"{key}: {'; '.join(problems)}")
