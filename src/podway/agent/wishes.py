"""What a CNI request asks for, and whether an endpoint is that. Pure; `attachments` asks."""

from ipaddress import ip_address

from podway.cni.podway_conf import PodwayConf
from podway.cni.requests import Request
from podway.cni.results import parse_result
from podway.compute.node import Place
from podway.model.addresses import family_of
from podway.model.endpoints import Endpoint
from podway.model.networks import Attach


def attach_of(conf: PodwayConf, place: Place) -> Attach:
    """Return how the pod is to be attached: as it asks, or as the network does."""
    match conf.attach:
        case "bridge":
            return "bridge"
        case "routed":
            return "routed"
        case _:
            return place.network.attach


def fits(endpoint: Endpoint, place: Place) -> bool:
    """Tell whether *endpoint* has one address of each of the node's subnets, as they are now."""
    subnets = place.subnets
    return len(endpoint.addresses) == len(subnets) and all(
        address in subnets.get(family_of(address), ()) for address in endpoint.addresses
    )


def pod_name(request: Request) -> str:
    """Return ``namespace/name`` of the pod, "" for a plain container."""
    namespace, name = (request.args.get(f"K8S_POD_{part}", "") for part in ("NAMESPACE", "NAME"))
    return f"{namespace}/{name}" if name else ""


def against_previous(request: Request, endpoint: Endpoint) -> list[str]:
    """Return what ``prevResult`` promised and *endpoint* has not, in sentences."""
    if request.config.prev_result is None:
        return []
    promised = parse_result(request.config.prev_result, request.config.cni_version)
    told = {ip_address(item.address.split("/")[0]) for item in promised.ips}
    return [
        f"prevResult has {address}, which is not this endpoint's"
        for address in told - set(endpoint.addresses)
    ]
