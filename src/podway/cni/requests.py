"""What a runtime asks of a plugin: environment and standard input in, one frozen value out.

Called by every executable and by the agent. Bad input is refused whole, in the order of the
specification: environment (4), JSON (6), network name (7), version (1); SPEC 1.1.0, "CNI
operations". Three points are finer than libcni's ``skel``: CNI_PATH is required only where the
specification requires it (GC, STATUS), the form of names is checked with the rest of the
environment, and a GC that does not say which attachments are valid is refused, because it would
otherwise delete all of them.
"""

from podway.cni.arguments import parse_arguments
from podway.cni.documents import decode
from podway.cni.errors import INVALID_CONFIG, INVALID_ENVIRONMENT, CniError, broken_rule
from podway.cni.fields import Fields
from podway.cni.names import check_container_id, check_ifname, check_network_name
from podway.cni.values import Value
from podway.cni.versions import ABSENT, ALL, check_version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

# Which variables each command must have; VERSION takes neither these nor standard input.
REQUIRED: "Final" = {
    "ADD": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "CHECK": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "DEL": ("CNI_CONTAINERID", "CNI_IFNAME"),
    "GC": ("CNI_PATH",),
    "STATUS": ("CNI_PATH",),
    "VERSION": (),
}
# The commands that are about one attachment.
ATTACHMENT_COMMANDS: "Final" = ("ADD", "CHECK", "DEL")

VALID_ATTACHMENTS: "Final" = "cni.dev/valid-attachments"
# libcni sends the same list under a second key, after a slip in an early text of the specification.
ATTACHMENTS: "Final" = "cni.dev/attachments"


class Attachment(Value):
    """What GC knows of an attachment: an interface of a container."""

    container_id: str
    ifname: str


class NetConf(Value):
    """The network configuration, its protocol keys checked.

    Attributes:
        cni_version: one of `versions.ALL`; results are rendered in it.
        name: the network.
        type: name of the plugin's executable, "" when not given.
        prev_result: the object as given (`results.parse_result` reads it), None for none.
        runtime_config: what the runtime gives to the capabilities asked for (``ips``, ``mac``).
        args_cni: ``args.cni``: orders for this container by the conventions of CNI.
        valid_attachments: of GC; None when the key is missing, empty when nothing is valid.
        raw: the whole object, for the plugin's own keys.
    """

    cni_version: str
    name: str
    type: str
    prev_result: "Mapping[str, Any] | None"
    runtime_config: "Mapping[str, Any]"
    args_cni: "Mapping[str, Any]"
    valid_attachments: tuple[Attachment, ...] | None
    raw: "Mapping[str, Any]"


class Request(Value):
    """One call of a plugin.

    Attributes:
        command: a key of `REQUIRED` but VERSION.
        container_id: with `ifname` and the network's name the key of an attachment; "" for GC and
            STATUS, as ifname and netns.
        netns: path of the network namespace, "" when it is gone (DEL).
        netns_override: the runtime insists, should `netns` be the plugin's own.
        args: CNI_ARGS.
        path: CNI_PATH, where other plugins are found.
        config: standard input.
    """

    command: str
    container_id: str
    netns: str
    netns_override: bool
    ifname: str
    args: "Mapping[str, str]"
    path: str
    config: NetConf


def parse_request(
    environment: "Mapping[str, str]", stdin: bytes, supported: tuple[str, ...] = ALL
) -> Request:
    """Return the request in *environment* and *stdin*.

    Args:
        environment: at least the CNI_* variables.
        stdin: the network configuration.
        supported: the versions that the plugin has, oldest first.

    Raises:
        CniError: INVALID_ENVIRONMENT, DECODING_FAILURE, INVALID_CONFIG, INCOMPATIBLE_VERSION.
    """
    command = parse_command(environment)
    attaches = command in ATTACHMENT_COMMANDS
    return Request(
        command=command,
        container_id=environment.get("CNI_CONTAINERID", "") if attaches else "",
        netns=environment.get("CNI_NETNS", "") if attaches else "",
        netns_override=overrides_netns(environment),
        ifname=environment.get("CNI_IFNAME", "") if attaches else "",
        args=parse_arguments(environment.get("CNI_ARGS", "")),
        path=environment.get("CNI_PATH", ""),
        config=parse_config(decode(stdin, "network configuration"), command, supported),
    )


def parse_command(environment: "Mapping[str, str]") -> str:
    """Return the command, once every variable that it needs is there and well formed.

    Raises:
        CniError: INVALID_ENVIRONMENT.
    """
    command = environment.get("CNI_COMMAND", "")
    required = REQUIRED.get(command)
    if required is None:
        rule = f"must be one of {', '.join(REQUIRED)}"
        raise broken_rule("CNI_COMMAND", command, rule, INVALID_ENVIRONMENT)
    missing = [name for name in required if not environment.get(name)]
    if missing:
        raise CniError(INVALID_ENVIRONMENT, f"{command} needs {', '.join(missing)}")
    if command in ATTACHMENT_COMMANDS:
        check_container_id(environment["CNI_CONTAINERID"])
        check_ifname(environment["CNI_IFNAME"])
    return command


def overrides_netns(environment: "Mapping[str, str]") -> bool:
    """Tell whether the runtime allows CNI_NETNS to be the plugin's own namespace."""
    return environment.get("CNI_NETNS_OVERRIDE", "").lower() in {"1", "true"}


def parse_config(
    document: "Mapping[str, Any]", command: str, supported: tuple[str, ...]
) -> NetConf:
    """Return the network configuration in *document*, for *command*.

    Raises:
        CniError: DECODING_FAILURE, INVALID_CONFIG, INCOMPATIBLE_VERSION.
    """
    fields = Fields(document)
    name, version = fields.text("name"), fields.text("cniVersion") or ABSENT
    check_network_name(name)
    check_version(version, command, supported)
    return NetConf(
        cni_version=version,
        name=name,
        type=fields.text("type"),
        prev_result=fields.mapping("prevResult") or None,
        runtime_config=fields.mapping("runtimeConfig"),
        args_cni=fields.fields("args").mapping("cni"),
        valid_attachments=_parse_attachments(fields, command),
        raw=document,
    )


def _parse_attachments(fields: Fields, command: str) -> tuple[Attachment, ...] | None:
    key = VALID_ATTACHMENTS if fields.has(VALID_ATTACHMENTS) else ATTACHMENTS
    if fields.has(key):
        return tuple(_parse_attachment(each) for each in fields.each(key))
    if command != "GC":
        return None
    raise CniError(
        INVALID_CONFIG,
        f"GC needs {VALID_ATTACHMENTS}: an empty list there means that no attachment is valid",
    )


def _parse_attachment(fields: Fields) -> Attachment:
    container_id, ifname = fields.text("containerID"), fields.text("ifname")
    # An entry that names nothing would protect nothing: better no GC than one pod too few.
    if not container_id or not ifname:
        raise broken_rule(fields.path, (container_id, ifname), "needs containerID and ifname")
    return Attachment(container_id=container_id, ifname=ifname)
