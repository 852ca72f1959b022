"""An agent that goes on with what a flanneld left: devices and routes first, rules last.

`start` is called before anything is computed: tunnels bear podway's marks from then on, and what
peers know of this node (the MACs of its VTEPs) is what it goes on to publish. `finish` is called
when a whole pass has been made from the store's complete list, with podway's own rules in force:
then flanneld's rules go. In between both are there, which does no harm: the first that translates
a connection's address wins, and both would say the same.
"""

from podway.compute.adoption import compute_adoption, vtep_macs
from podway.kernel.flannel_rules import remove_rule_sets
from podway.kernel.leftovers import adopt, read_leftovers
from podway.kernel.logs import Log
from podway.kernel.protocol import KernelError
from podway.model.addresses import Family
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

    def finish(self, *, forward_is_kept: bool) -> None:
        """Remove flanneld's rules; what cannot be removed now is told, and left.

        Args:
            forward_is_kept: the agent has a chain of its own where FORWARD drops, so flanneld's is
                needed no more; but in the tables of iptables-legacy, where it has none.
        """
        rules = [
            each
            for each in self._left.rules
            if not each.is_needed or (forward_is_kept and not each.legacy)
        ]
        self.pending = False
        if not rules:
            return
        try:
            remove_rule_sets(rules, self._netns_fd)
        except KernelError as error:
            self._log.warning("rules of flanneld are left", reason=str(error))
            return
        self._log.info("rules of flanneld removed", sets="; ".join(map(str, rules)))
