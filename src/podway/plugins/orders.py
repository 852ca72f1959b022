"""What a runtime asks for this one container: addresses, by three ways.

In: a request. Out: addresses, checked. Called by IPAM plugins. The ways are ``runtimeConfig.ips``
(capability ``ips``), ``args.cni.ips`` and ``IP`` of CNI_ARGS. CNI_ARGS has keys for several plugins
of a list at once, so a key that another plugin knows is no error here.
"""

from podway.cni.addresses import parse_address, parse_prefix_bits
from podway.cni.arguments import POD_KEYS, check_known
from podway.cni.errors import INVALID_CONFIG, INVALID_ENVIRONMENT, broken_rule
from podway.cni.fields import Fields
from podway.cni.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from podway.cni.requests import Request

# What plugins of the suite read in CNI_ARGS; anything else needs IgnoreUnknown=1.
KNOWN_ARGUMENTS: "Final" = (*POD_KEYS, "IP", "GATEWAY", "MAC")


class OrderedIp(Value):
    """An address that the runtime asks for.

    Attributes:
        packed: 4 or 16 bytes.
        bits: prefix length, None where it gave none.
        where: it asked, for messages.
    """

    packed: bytes
    bits: int | None
    where: str


def check_arguments(request: "Request") -> None:
    """Refuse keys of CNI_ARGS that no plugin knows, unless IgnoreUnknown is set.

    Raises:
        CniError: INVALID_ENVIRONMENT.
    """
    check_known(request.args, KNOWN_ARGUMENTS)


def ordered_ips(request: "Request") -> dict[str, tuple[OrderedIp, ...]]:
    """Return what each way asks for: by "CNI_ARGS", "args.cni", "runtimeConfig".

    Raises:
        CniError: INVALID_ENVIRONMENT or INVALID_CONFIG, it is no address.
    """
    arguments = request.args.get("IP", "")
    texts = tuple(text.strip() for text in arguments.split(",")) if arguments else ()
    orders = Fields(request.config.args_cni, "args.cni", INVALID_CONFIG)
    runtime = Fields(request.config.runtime_config, "runtimeConfig", INVALID_CONFIG)
    return {
        "CNI_ARGS": _parse("CNI_ARGS IP", texts, INVALID_ENVIRONMENT),
        "args.cni": _parse("args.cni.ips", orders.texts("ips"), INVALID_CONFIG),
        "runtimeConfig": _parse("runtimeConfig.ips", runtime.texts("ips"), INVALID_CONFIG),
    }


def _parse(where: str, texts: tuple[str, ...], code: int) -> tuple[OrderedIp, ...]:
    return tuple(_parse_ip(where, text, code) for text in texts)


def _parse_ip(where: str, text: str, code: int) -> OrderedIp:
    address, slash, bits = text.partition("/")
    try:
        packed = parse_address(address)
        return OrderedIp(
            packed=packed,
            bits=parse_prefix_bits(bits, len(packed) * 8) if slash else None,
            where=where,
        )
    except ValueError as error:
        raise broken_rule(where, text, str(error), code) from None
