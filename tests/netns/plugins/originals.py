"""The same through the reference plugins that Debian has: what tests of several plugins share."""

from collections.abc import Callable

import pytest

from netns.conftest import MakeNetns, Netns
from netns.plugins.cni_runtime import (
    REFERENCE,
    Document,
    Runtime,
    devices,
    stable,
    with_previous,
    without_waiting,
)

needs_original = pytest.mark.skipif(
    not REFERENCE.exists(), reason="needs containernetworking-plugins"
)
each_first = pytest.mark.parametrize(
    "ours_first",
    [pytest.param(True, id="ours, theirs"), pytest.param(False, id="theirs, ours")],
)
# The first version that has CHECK.
_CHECKED_SINCE = "0.4.0"


def compare_main_plugins(
    runtime: Runtime,
    make_netns: MakeNetns,
    config: Document,
    observe: Callable[[Netns, Document], object],
) -> None:
    """Attach by the one and by the other; each checks, and takes away, what the other made.

    Args:
        runtime: calls them.
        make_netns: for a container each.
        config: of a main plugin, with ``host-local``.
        observe: returns what must be alike, besides the result, from the container's namespace and
            the result.
    """
    seen, before = [], devices(runtime.host)
    for reference in (False, True):
        pod = without_waiting(make_netns())
        result = runtime.add(config, pod, reference=reference)
        seen.append((stable(result), observe(pod, result)))
        if config["cniVersion"] >= _CHECKED_SINCE:
            checked = with_previous(config, result)
            assert runtime.call("CHECK", checked, pod, reference=not reference).code == 0
        assert runtime.call("DEL", config, pod, reference=not reference).code == 0
        assert devices(pod) == set()
        assert devices(runtime.host) == before
        assert runtime.reserved() == set()
        assert "CNI-" not in runtime.host.exec("nft", "list", "ruleset")
        for last in runtime.directory.glob("net/last_reserved*"):
            last.unlink()
    ours, theirs = seen
    assert ours == theirs
