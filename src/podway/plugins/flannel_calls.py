"""What the ``flannel`` plugin does: ADD, DEL, CHECK, GC and STATUS of another plugin.

In: a call. Out: the other plugin's result. Called by `flannel`. Why it is hard: the node's subnet
may be another one by the time of DEL, or unknown; so what ADD delegated with is kept, and DEL
delegates with that. A file that says nothing is made up for by the configuration of the call.
"""

import posix

from podway.cni.documents import MAX_DOCUMENT_BYTES
from podway.cni.errors import (
    CHECK_FAILED,
    INVALID_CONFIG,
    TRY_AGAIN_LATER,
    CniError,
)
from podway.netlink.socket import NetlinkSocket
from podway.plugins.availability import check_step
from podway.plugins.container_links import refuse_taken_name
from podway.plugins.delegation import check_type, delegate, delegate_add, with_config
from podway.plugins.flannel_conf import FlannelConf, parse_flannel_conf, render_delegate
from podway.plugins.flannel_files import Attachment, KeptConfs
from podway.plugins.routing_tables import lock_namespace
from podway.plugins.subnet_env import SubnetEnv, parse_subnet_env
from podway.plugins.undo import Undo, attempt_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

    from podway.cni.results import Result
    from podway.plugins.skeleton import Call

# Told by flannel's plugin since 2023; people look for it in their runtime's log.
FAILED_TO_LOAD: "Final" = "failed to load flannel 'subnet.env' file"
_DELEGATE_TYPE: "Final" = "delegate.type"
_HINT: "Final" = (
    "the daemon that writes it (flanneld, podway agent) has no subnet for this node yet: see its "
    "log, that it reaches its store, and on Kubernetes that the node has a podCIDR"
)


def add(call: "Call") -> "Result":
    """Attach the container by another plugin, and keep how.

    Raises:
        CniError: TRY_AGAIN_LATER, the node has no subnet yet; IO_FAILURE, the container has such an
            interface already; or as the other plugin says.
    """
    conf = parse_flannel_conf(call.request)
    document = render_delegate(call.request, conf, load_subnet_env(conf.subnet_file))
    kept = KeptConfs(conf.data_dir, call.config.name)
    _refuse_second(call)
    with Undo() as undo:
        undo.push(kept.forget, _owner(call))
        # Before the other plugin is called: whatever it leaves when it is killed, DEL finds this.
        kept.keep(_owner(call), document)
        return delegate_add(with_config(call, document), conf.type, _DELEGATE_TYPE)


def _refuse_second(call: "Call") -> None:
    """Refuse an ADD of what is there, before anything of the first one is given up for it.

    The other plugin would refuse as well, and its DEL after that would take the first one's.
    """
    lock_namespace(call.namespace)
    with NetlinkSocket(netns_fd=call.namespace) as inside:
        refuse_taken_name(call, inside)


def delete(call: "Call") -> None:
    """Undo what ADD did, with the configuration that it had."""
    conf = parse_flannel_conf(call.request)
    kept = KeptConfs(conf.data_dir, call.config.name)
    found = kept.find(_owner(call))
    if found is not None:
        document = found.document
        if document is None:
            document = render_delegate(call.request, conf, _subnet_env_if_any(conf))
        previous = call.config.prev_result
        _delegate(call, {**document, **({"prevResult": previous} if previous else {})})
    kept.forget(_owner(call))


def check(call: "Call") -> None:
    """See that what ADD did is still there.

    Raises:
        CniError: CHECK_FAILED, nothing is kept; or as the other plugin says.
    """
    conf = parse_flannel_conf(call.request)
    found = KeptConfs(conf.data_dir, call.config.name).find(_owner(call))
    if found is None or found.document is None:
        raise CniError(
            CHECK_FAILED,
            f"nothing in {conf.data_dir} tells how {call.request.ifname} of container "
            f"{call.request.container_id} was attached",
        )
    told = {"cniVersion": call.config.cni_version, "prevResult": call.config.prev_result}
    _delegate(call, {**found.document, **told})


def gc(call: "Call") -> None:
    """Pass on, then forget what was kept for attachments that are not valid any more."""
    conf = parse_flannel_conf(call.request)
    document = render_delegate(call.request, conf, _subnet_env_if_any(conf))
    attachments = [
        {"containerID": each.container_id, "ifname": each.ifname}
        for each in call.config.valid_attachments or ()
    ]
    collected = {**document, "cni.dev/valid-attachments": attachments}
    attempt_all(lambda: _delegate(call, collected), lambda: _forget_invalid(call, conf))


def status(call: "Call") -> None:
    """See that the node has a subnet, and ask the other plugin.

    Raises:
        CniError: UNAVAILABLE.
    """
    conf = parse_flannel_conf(call.request)
    env = check_step(load_subnet_env, conf.subnet_file)
    _delegate(call, render_delegate(call.request, conf, env))


def load_subnet_env(path: str) -> SubnetEnv:
    """Return what the file at *path* says.

    Raises:
        CniError: TRY_AGAIN_LATER, it is missing or not complete; INVALID_CONFIG, a value is none.
    """
    try:
        return parse_subnet_env(_read_text(path), path)
    except OSError as error:
        code, reason = TRY_AGAIN_LATER, f"{path}: {error.strerror}"
    except UnicodeDecodeError:
        code, reason = INVALID_CONFIG, f"{path} is not UTF-8"
    except CniError as error:
        code, reason = error.code, error.msg
    raise CniError(code, f"{FAILED_TO_LOAD}: {reason}", _HINT)


def _subnet_env_if_any(conf: FlannelConf) -> SubnetEnv | None:
    """Return what the file says; None where taking away must do without it."""
    try:
        return load_subnet_env(conf.subnet_file)
    except CniError:
        return None


def _read_text(path: str) -> str:
    # Not blocking: the path might be a pipe that nobody writes to.
    descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NONBLOCK)
    try:
        return posix.read(descriptor, MAX_DOCUMENT_BYTES).decode()
    finally:
        posix.close(descriptor)


def _delegate(call: "Call", document: "Mapping[str, Any]") -> None:
    name = check_type(document["type"], _DELEGATE_TYPE)
    delegate(with_config(call, document), name, _DELEGATE_TYPE)


def _forget_invalid(call: "Call", conf: FlannelConf) -> None:
    kept = KeptConfs(conf.data_dir, call.config.name)
    valid = {
        Attachment(container_id=each.container_id, ifname=each.ifname)
        for each in call.config.valid_attachments or ()
    }
    # The original's files do not tell the interface.
    valid |= {Attachment(container_id=each.container_id, ifname="") for each in valid}
    for owner in tuple(kept.all()):
        if owner not in valid:
            kept.forget(owner)


def _owner(call: "Call") -> Attachment:
    return Attachment(container_id=call.request.container_id, ifname=call.request.ifname)
