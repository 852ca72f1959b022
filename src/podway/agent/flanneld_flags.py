"""The flags of flanneld: names, kinds and defaults are flannel's (main.go, and klog's three).

Read by `flanneld`; `WITHOUT_USE` are those that podway accepts and has no use for, each with why.
"""

from podway.agent.goflags import GoFlag


def _text(default: str, what: str) -> GoFlag:
    return GoFlag("text", default, what)


def _flag(default: str, what: str) -> GoFlag:
    return GoFlag("flag", default, what)


FLAGS = {
    "etcd-endpoints": _text(
        "http://127.0.0.1:4001,http://127.0.0.1:2379", "members of the etcd cluster"
    ),
    "etcd-prefix": _text("/coreos.com/network", "of all keys in etcd"),
    "etcd-keyfile": _text("", "our key, for etcd over TLS"),
    "etcd-certfile": _text("", "our certificate, for etcd over TLS"),
    "etcd-cafile": _text("", "who signs etcd's certificate"),
    "etcd-username": _text("", "whom etcd knows us as"),
    "etcd-password": _text("", "the password; better in a file, see below"),
    "iface": GoFlag("list", "", "interface (name or address) to other nodes; may be repeated"),
    "iface-regex": GoFlag("list", "", "for its address, or else its name; may be repeated"),
    "iface-can-reach": _text("", "the interface by which this address is reached"),
    "subnet-file": _text("/run/flannel/subnet.env", "what the node's CNI plugin reads"),
    "public-ip": _text("", "IPv4 address by which other nodes reach this one"),
    "public-ipv6": _text("", "IPv6 address by which other nodes reach this one"),
    "subnet-lease-renew-margin": GoFlag("number", "60", "minutes before the lease ends"),
    "ip-masq": _flag("false", "pods' packets to the outside take the node's address"),
    "ip-masq-fully-random-disable": _flag("false", "do not randomise ports fully"),
    "kube-subnet-mgr": _flag("false", "the store is Kubernetes and not etcd"),
    "kube-api-url": _text("", "URL of the API server; that of the kubeconfig, or the pod's"),
    "kube-annotation-prefix": _text("flannel.alpha.coreos.com", "of annotations on Nodes"),
    "kubeconfig-file": _text("", "kubeconfig; the pod's service account without one"),
    "version": _flag("false", "print the version and exit"),
    "healthz-ip": _text("0.0.0.0", "where /healthz, /readyz and /metrics are served"),  # noqa: S104
    "healthz-port": GoFlag("number", "0", "likewise; 0: not at all"),
    "iptables-resync": GoFlag("number", "5", "seconds"),
    "iptables-forward-rules": _flag("true", "accept forwarded packets of the network"),
    "ip-blackhole-route": _flag("false", "refuse packets for addresses that no pod has"),
    "net-config-path": _text("/etc/kube-flannel/net-conf.json", "the network, with Kubernetes"),
    "set-node-network-unavailable": _flag("true", "clear NetworkUnavailable of the Node"),
    # klog's
    "v": GoFlag("number", "0", "1 and more: log what is of no interest mostly"),
    "vmodule": _text("", "log levels by file"),
    "log_backtrace_at": _text("", "file:line"),
}

WITHOUT_USE = {
    "iptables-resync": "rules are put back when somebody changes them, not by the clock",
    "subnet-lease-renew-margin": "leases are renewed three times in their life",
    "ip-masq-fully-random-disable": "ports are always chosen at random",
    "vmodule": "podway logs by level alone",
    "log_backtrace_at": "podway logs no backtraces",
}


def render_usage() -> str:
    """Return the help text."""
    lines = ["Usage: flanneld [OPTION]...", ""]
    for name, flag in sorted(FLAGS.items()):
        default = f" (default {flag.default})" if flag.default not in ("", "false") else ""
        lines += [f"  -{name}", f"    \t{flag.help}{default}"]
    lines += ["", "Every flag may come from the environment: FLANNELD_ETCD_ENDPOINTS and so on."]
    lines += ["A password shows in process listings; PODWAY_STORE_PASSWORD_FILE names a file."]
    return "\n".join(lines) + "\n"
