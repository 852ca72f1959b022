"""How what a flanneld left becomes podway's own without a packet lost. Pure.

In: `Leftovers`, and the names and marks that they shall have. Out: an `Adoption`. Each step of it
is one request to the kernel, which is carried out whole or not at all, and none takes away what
packets need:

- a device gets podway's alias (and another name, where that is wanted) in one message; it stays up,
  keeps its MAC, which is what peers know it by, and all that stands on it;
- a route is replaced by itself with podway's protocol, in place (NLM_F_REPLACE).

What is left is the ordinary difference between what there is and what should be, and the ordinary
sweep of what is podway's and should not be: routes to nodes that are gone, which a flanneld leaves
for ever. Done in part (somebody was killed) it is still there to be found, and is done the rest of.
"""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from podway.compute.backends import vxlan
from podway.compute.dressing import dressed_name
from podway.model.addresses import Family, family_of
from podway.model.instances import Instance
from podway.model.kernel import Ipip, Link, Route, Vxlan, Wireguard
from podway.model.leftovers import Leftovers


class Adopted(Struct, frozen=True, kw_only=True):
    """A device that becomes ours: its index, the name that it has, the name and alias it gets."""

    index: int
    old: str
    new: str
    alias: str

    @property
    def is_renamed(self) -> bool:
        """It gets another name."""
        return self.new != self.old


class Adoption(Struct, frozen=True, kw_only=True):
    """What is done, in order: devices, then routes."""

    links: tuple[Adopted, ...] = ()
    routes: tuple[Route, ...] = ()


def compute_adoption(left: Leftovers, instance: Instance) -> Adoption:
    """Return what makes the tunnels of *left* those of *instance*, with their routes."""
    wanted = {link.name: _adopted(link, left.indexes[link.name], instance) for link in left.links}
    names = {name: each.new for name, each in wanted.items() if each is not None}
    due = [each for each in wanted.values() if each is not None]
    return Adoption(
        links=tuple(
            each
            for each, link in zip(due, _of(left.links, names), strict=True)
            if each.is_renamed or each.alias != link.alias
        ),
        routes=tuple(
            replace(route, dev=names[route.dev], protocol=instance.marks.protocol)
            for route in left.routes
            if route.dev in names
        ),
    )


def tunnel_name(link: Link, instance: Instance) -> tuple[str, str] | None:
    """Return what *instance* calls such a tunnel, and its alias; None where it makes none such."""
    match link.kind:
        case Vxlan(vni=vni, local=local):
            name, purpose = vxlan.device_name(vni, family_of(local)), "vtep"
        case Ipip():
            name, purpose = "podway.ipip", "ipip"
        case Wireguard():
            name = "podway-wg-v6" if link.name.endswith("-v6") else "podway-wg"
            purpose = "wireguard"
        case _:
            return None
    return dressed_name(name, instance), f"{instance.marks.alias}{purpose}"


def vtep_macs(links: Iterable[Link], vni: int) -> dict[Family, str]:
    """Return the MACs of the VTEPs among *links* that have *vni*."""
    return {
        family_of(link.kind.local): link.mac
        for link in links
        if isinstance(link.kind, Vxlan) and link.kind.vni == vni and link.mac
    }


def _adopted(link: Link, index: int, instance: Instance) -> Adopted | None:
    found = tunnel_name(link, instance)
    if found is None:
        return None
    return Adopted(index=index, old=link.name, new=found[0], alias=found[1])


def _of(links: Iterable[Link], names: dict[str, str]) -> list[Link]:
    return [link for link in links if link.name in names]
