"""An agent that goes on with what a flanneld left: devices and routes first, rules last.

`start` is called before anything is computed: tunnels bear podway's marks from then on, and what
peers know of this node (the MACs of its VTEPs) is what it goes on to publish. `finish` is called
when a whole pass has been made from the store's complete list, with podway's own rules in force:
then flanneld's rules go. In between both are there, which does no harm: the first that translates
a connection's address wins, and both would say the same.
"""

from podway.compute.adoption import compute_adoption, vtep_macs
from podway.kernel.flannel_forward import ForwardChain
from podway.kernel.flannel_rules import remove_rule_sets
from podway.kernel.leftovers import adopt, read_leftovers
from podway.kernel.logs import Log
from podway.kernel.protocol import KernelError
from podway.model.addresses import Family, IPNetwork
from podway.model.instances import Instance
from podway.model.leftovers import Leftovers


class TakeOver:
    """Takes over from a flanneld. Every method is called in the kernel's thread.

    Args:
        instance: whose it becomes.
        netns_fd: the namespace; None for the process's own.

    Attributes:
        pending: `finish` has not been done yet.
    """

    def __init__(self, instance: Instance, log: Log, netns_fd: int | None = None) -> None:
        self.pending = True
        self._instance = instance
        self._log = log
        self._netns_fd = netns_fd
        self._left = Leftovers()
        self._forward = ForwardChain(netns_fd)
        self._forward_error = ""

    def start(self) -> None:
        """Make tunnels and their routes ours.

        Raises:
            KernelError: they could not all be; what could is.
        """
        self._left = left = read_leftovers(self._instance, self._netns_fd)
        if left.processes:
            numbers = ",".join(map(str, left.processes))
            self._log.warning("flanneld runs here, and will undo what podway does", pids=numbers)
        adoption = compute_adoption(left, self._instance)
        if adoption.links or adoption.routes:
            adopt(adoption, self._netns_fd)
            names = ",".join(each.old for each in adoption.links)
            self._log.info("taken over from flanneld", devices=names, routes=len(adoption.routes))

    def macs(self, vni: int) -> dict[Family, str]:
        """Return the MACs of the VTEPs with *vni* that were there at the start."""
        return vtep_macs(self._left.links, vni)

    def keep_forward(self, prefixes: tuple[IPNetwork, ...]) -> None:
        """Have forwarded packets of *prefixes* accepted where another table would drop them."""
        try:
            written = self._forward.keep(prefixes)
        except KernelError as error:
            if str(error) != self._forward_error:
                self._log.warning("forwarded packets may be dropped", reason=str(error))
            self._forward_error = str(error)
            return
        self._forward_error = ""
        if written:
            self._log.info("chain FORWARD drops: network accepted", families=",".join(written))

    def finish(self) -> None:
        """Remove flanneld's rules; what cannot be removed now is told, and left."""
        rules = [each for each in self._left.rules if not each.is_needed]
        self.pending = False
        if not rules:
            return
        try:
            remove_rule_sets(rules, self._netns_fd)
        except KernelError as error:
            self._log.warning("rules of flanneld are left", reason=str(error))
            return
        self._log.info("rules of flanneld removed", sets="; ".join(map(str, rules)))
