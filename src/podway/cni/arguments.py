"""CNI_ARGS: ``KEY=value;KEY=value``, what the runtime says about this one container.

Keys keep their case. As in libcni (``pkg/types/args.go``) a pair has exactly one ``=``, and a key
that the plugin does not know is an error unless ``IgnoreUnknown`` is 1 or true, as kubelet's
runtimes set it.
"""

from podway.cni.errors import INVALID_ENVIRONMENT, CniError, broken_rule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

# What containerd and CRI-O say of a pod, without meaning it as an order.
POD_KEYS: "Final" = (
    "IgnoreUnknown",
    "K8S_POD_NAMESPACE",
    "K8S_POD_NAME",
    "K8S_POD_INFRA_CONTAINER_ID",
    "K8S_POD_UID",
)


def parse_arguments(text: str) -> dict[str, str]:
    """Return the pairs of CNI_ARGS; the last one of a key wins.

    Raises:
        CniError: INVALID_ENVIRONMENT.
    """
    pairs: dict[str, str] = {}
    for pair in text.split(";") if text else ():
        key, equals, value = pair.partition("=")
        if not equals or not key or "=" in value:
            rule = "must be KEY=value pairs with ';' between them"
            raise broken_rule("CNI_ARGS", pair, rule, INVALID_ENVIRONMENT)
        pairs[key] = value
    return pairs


def check_known(arguments: "Mapping[str, str]", known: tuple[str, ...]) -> None:
    """Refuse keys that are not *known*, unless the runtime said IgnoreUnknown.

    Raises:
        CniError: INVALID_ENVIRONMENT.
    """
    unknown = [key for key in arguments if key not in known]
    if _ignores_unknown(arguments) or not unknown:
        return
    raise CniError(
        INVALID_ENVIRONMENT,
        f"CNI_ARGS has {', '.join(sorted(unknown))}: known are {', '.join(known)}; "
        "IgnoreUnknown=1 lets others pass",
    )


def _ignores_unknown(arguments: "Mapping[str, str]") -> bool:
    value = arguments.get("IgnoreUnknown", "0")
    if value.lower() in {"1", "true"}:
        return True
    if value.lower() in {"0", "false"}:
        return False
    raise broken_rule(
        "CNI_ARGS IgnoreUnknown", value, "must be 1, true, 0 or false", INVALID_ENVIRONMENT
    )
