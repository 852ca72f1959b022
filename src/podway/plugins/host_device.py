"""The ``host-device`` plugin: a device of the host, moved into the container and back.

In: which device (`host_device_conf`), and IPAM if any. Out: the device as the container's
interface. DEL and GC give the host everything back that it had (`host_device_moves`). Hardware that
a program drives without the kernel (DPDK) has no device to move: there is only IPAM.
"""

import posix

from podway.cni.errors import CHECK_FAILED, CniError
from podway.cni.results import Interface, Result
from podway.cni.values import replace
from podway.netlink.addresses import dump_addresses
from podway.netlink.links import get_link
from podway.netlink.netns import entered, identity
from podway.netlink.routes import dump_routes
from podway.netlink.socket import NetlinkSocket
from podway.plugins.availability import check_step
from podway.plugins.container_links import read_link, refuse_taken_name
from podway.plugins.delegation import (
    assign_addresses,
    ipam_type,
    pass_to_ipam,
    release_from_interface,
)
from podway.plugins.dns import configured_dns
from podway.plugins.host_device_conf import (
    HostDeviceConf,
    parse_conf,
    parse_data_dir,
    require_device,
)
from podway.plugins.host_device_files import (
    Lock,
    read_state,
    remove_file,
    remove_state,
    state_path,
    state_paths,
    write_state,
)
from podway.plugins.host_device_lookup import find_device, is_driven_by_program, is_on_pci
from podway.plugins.host_device_moves import (
    await_hardware,
    bring_back,
    bring_back_unknown,
    move_in,
)
from podway.plugins.host_device_state import HostState, compute_state
from podway.plugins.interfaces import (
    compute_interface_plan,
    configure_interface,
    required_link,
)
from podway.plugins.previous import container_interface, required_previous_result
from podway.plugins.single_interface import check_told
from podway.plugins.skeleton import Call, CniPlugin, run_plugin
from podway.plugins.undo import Undo, attempt_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, NoReturn

    from podway.netlink.link_messages import LinkMessage


def main() -> "NoReturn":
    """Answer one CNI call and end the process."""
    run_plugin(PLUGIN)


def add(call: Call) -> Result:
    """Move the device into the container; with IPAM give it addresses."""
    conf = parse_conf(call)
    require_device(conf)
    dns = configured_dns(call.config)
    if is_driven_by_program(conf):
        return replace(_add_addresses_alone(call), dns=dns)
    with NetlinkSocket() as host, Undo() as undo:
        with Lock(conf.data_dir, may_make=True):
            _take(call, conf, host, undo)
        ipam = ipam_type(call)
        assigned = assign_addresses(call, ipam, undo) if ipam else Result()
        return replace(_configure(call, conf, assigned), dns=dns)


def _take(call: Call, conf: HostDeviceConf, host: NetlinkSocket, undo: Undo) -> None:
    """Move the device into the container, after noting what the host loses by that."""
    link = find_device(host, conf)
    with NetlinkSocket(netns_fd=call.namespace) as inside:
        refuse_taken_name(call, inside)
    state = read_host_state(call, host, link)
    write_state(conf.data_dir, state)
    undo.push(_return_taken, call, conf.data_dir, host, state)
    move_in(host, link["index"], call.namespace, state)


def _return_taken(call: Call, directory: str, host: NetlinkSocket, state: HostState) -> None:
    """Bring back what an ADD took that failed; what cannot come back DEL and GC will try again."""
    with Lock(directory):
        bring_back(host, call.namespace, state)
        remove_state(directory, state)


def _add_addresses_alone(call: Call) -> Result:
    """Return what IPAM assigns where there is no interface to give it to."""
    ipam = ipam_type(call)
    if not ipam:
        return Result()
    with Undo() as undo:
        return assign_addresses(call, ipam, undo)


def read_host_state(call: Call, host: NetlinkSocket, link: "LinkMessage") -> HostState:
    """Return what the host loses when *link* leaves it for the container of *call*."""
    index = link["index"]
    return compute_state(
        call.request,
        identity(call.namespace),
        link,
        _master_name(host, link),
        host.dump(dump_addresses(index=index)),
        host.dump(dump_routes(oif=index)),
    )


def _master_name(host: NetlinkSocket, link: "LinkMessage") -> str:
    if not link.get("master"):
        return ""
    master = host.request(get_link({"index": link["master"]}))
    assert master is not None  # a read answers or raises
    return master["ifname"]


def _configure(call: Call, conf: HostDeviceConf, assigned: Result) -> Result:
    """Give the interface its addresses, bring it up, and return the result."""
    ifname = call.request.ifname
    with entered(call.namespace), NetlinkSocket() as inside:
        link = read_link(inside, ifname)
        interface = Interface(
            name=ifname,
            mac=link.get("address", ""),
            mtu=link["mtu"],
            sandbox=call.request.netns,
            pci_id=conf.hardware_id if is_on_pci(conf.hardware_id) else "",
        )
        ips = tuple(replace(ip, interface=0) for ip in assigned.ips)
        result = Result(interfaces=(interface,), ips=ips, routes=assigned.routes)
        configure_interface(inside, link["index"], ifname, compute_interface_plan(result, 0))
    return result


def delete(call: Call) -> None:
    """Bring the device back, and give its addresses back."""
    directory, request = parse_data_dir(call), call.request
    path = state_path(directory, call.config.name, request.container_id, request.ifname)
    release_from_interface(call)
    with Lock(directory), NetlinkSocket() as host:
        state = read_state(path)
        if state is None:
            if call.netns is not None:
                bring_back_unknown(host, call.netns, request.ifname)
            remove_file(path)  # should it say nothing sensible
        elif call.netns is not None:
            _return(host, path, call.netns, state)
        else:
            _return_from_noted(host, path, state, waits=True)
    pass_to_ipam(call)


def _return(host: NetlinkSocket, path: str, netns_fd: int | None, state: HostState) -> None:
    """Bring the device back; keep the file while the kernel may still give hardware back."""
    if bring_back(host, netns_fd, state) or state.kind:
        remove_file(path)


def _return_from_noted(host: NetlinkSocket, path: str, state: HostState, *, waits: bool) -> None:
    """Bring the device back out of the namespace that the file names, if that is still the same.

    Args:
        host: of the thread's namespace.
        path: of the file.
        state: what it says.
        waits: give the kernel time to give back what was in a namespace that is gone.
    """
    netns_fd = _open_same(state)
    try:
        if netns_fd is None and waits:
            await_hardware(host, state)
        _return(host, path, netns_fd, state)
    finally:
        if netns_fd is not None:
            posix.close(netns_fd)


def check(call: Call) -> None:
    """See that the device is in the container as ADD left it."""
    from podway.plugins.interface_checks import check_interface  # noqa: PLC0415 - only here

    conf = parse_conf(call)
    require_device(conf)
    result = required_previous_result(call.request)
    pass_to_ipam(call)
    if is_driven_by_program(conf):
        return
    request, position = call.request, container_interface(result, call.request)
    path = state_path(conf.data_dir, call.config.name, request.container_id, request.ifname)
    state = read_state(path)
    with NetlinkSocket(netns_fd=call.namespace) as inside:
        link = required_link(inside, request.ifname, request.netns)
        alias = link.get("ifalias", "")
        # Without a file the reference plugin moved it: then any name will do.
        if not alias or (state is not None and alias != state.name):
            wanted = f", must be {state.name!r}" if state is not None else ""
            text = f"{request.ifname} has the alias {alias!r}{wanted}: its name on the host"
            raise CniError(CHECK_FAILED, text)
        check_told(link, result.interfaces[position])
        check_interface(inside, link, compute_interface_plan(result, position))


def gc(call: Call) -> None:
    """Bring back the devices of attachments that are not valid any more."""
    directory, network = parse_data_dir(call), call.config.name
    valid = {
        state_path(directory, network, each.container_id, each.ifname)
        for each in call.config.valid_attachments or ()
    }
    stale = [path for path in state_paths(directory, network) if path not in valid]
    with NetlinkSocket() as host:

        def step(path: str) -> "Callable[[], None]":
            return lambda: _collect(host, directory, path)

        attempt_all(*(step(path) for path in stale), lambda: pass_to_ipam(call))


def _collect(host: NetlinkSocket, directory: str, path: str) -> None:
    with Lock(directory):
        state = read_state(path)
        if state is None:
            remove_file(path)
        else:
            _return_from_noted(host, path, state, waits=False)


def _open_same(state: HostState) -> int | None:
    """Return a descriptor of the namespace that the device went to; None when it is gone."""
    try:
        netns_fd = posix.open(state.netns, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NONBLOCK)
    except OSError:
        return None
    if identity(netns_fd) == state.netns_id:
        return netns_fd
    posix.close(netns_fd)  # the path leads to another one now
    return None


def status(call: Call) -> None:
    """See that the device is there to be had, and that IPAM is well."""
    conf = parse_conf(call)
    # The runtime may name the device for each ADD: then there is nothing to see.
    if conf.names_device:
        check_step(_require_device, conf)
    pass_to_ipam(call)


def _require_device(conf: HostDeviceConf) -> None:
    if not is_driven_by_program(conf):
        with NetlinkSocket() as host:
            find_device(host, conf)


PLUGIN: "Final" = CniPlugin(
    name="host-device",
    about="a device of the host, moved into the container and back",
    add=add,
    delete=delete,
    check=check,
    gc=gc,
    status=status,
)
