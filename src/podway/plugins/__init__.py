"""CNI executables, one module each, what they share, and what puts them in place.

`registry` lists the executables, `install` writes them into a runtime's plugin directory, `podway`
is the one that asks the agent. The others need no agent. Each is a module with::

    def add(call: Call) -> Result: ...           # likewise delete, check, gc, status -> None

    PLUGIN = CniPlugin(name="ptp", about="...", add=add, delete=delete, check=check, gc=gc,
                       status=status)            # IPAM: opens_netns=False

    def main() -> NoReturn:
        run_plugin(PLUGIN)

and an entry in `registry`. What they share:

`skeleton`
    `CniPlugin`, `OnDemand` (a command in a module of its own, loaded when it is called),
    `run_plugin` (edges, order of checks, errors as JSON), `Call`: ``request``
    (`podway.cni.requests.Request`), ``config``, ``stdin``, ``netns`` (None where a DEL finds it
    gone), ``namespace`` (the descriptor, where there must be one). Errors: raise `CniError`
    (`broken_rule`); `NetlinkError` and other `OSError` become 5, anything else 999.
`delegation`
    ``ipam_type(call)``, ``delegate_add(call, type) -> Result`` (calls DEL if it fails),
    ``delegate(call, type)`` for the other commands, ``delegate_delete(call, type)`` to undo,
    ``with_config(call, document)`` to delegate with another configuration. podway's own plugins
    are called in this process, others executed. A main plugin's DEL begins with
    ``release_from_interface(call)``: DHCP says good-bye while there is an interface.
`undo`
    ``with Undo() as undo: ...; undo.push(step, *arguments)``.
`interfaces`, `interface_checks`
    ``compute_interface_plan(result, position) -> InterfacePlan`` (pure), ``configure_interface(
    netlink, index, ifname, plan)``, ``find_link``, ``required_link``, ``set_up``, ``carry_out``
    (batch or the first error), ``settle_addresses``; for CHECK ``check_interface(netlink, link,
    plan)``. In a container: ``with entered(call.namespace), NetlinkSocket() as netlink:``.
`previous`
    ``previous_result(request)``, ``required_previous_result(request)``, ``find_interface``,
    ``container_interface``.
`sysctls`, `macs`, `marks`, `programs`
    Kernel parameters; ``random_veth_name()``, ``requested_mac(request)``; aliases by which GC and a
    DEL without namespace find the host's devices (``mark_of(request)``, ``valid_marks(request)``,
    ``network_mark(name)``); ``find_program``, ``run_program(argv, stdin) -> Outcome``.

`container_links`, `single_interface`, `children`, `masters`, `link_fields`, `dns`
    Main plugins: ``make_link``, ``remove_link(call, kind)``, ``check_kind``; ``add_interface(call,
    shape, make, dns=...)``, ``check_shape``, ``check_told``, ``required_ipam``; a ``Child`` of a
    master: ``add_child(call, child)``, ``check_child``, ``check_child_available``;
    ``find_master``; ``parse_mtu``, ``parse_device_name``; ``configured_dns(config)``.

`availability`
    STATUS: ``check_step(step, *arguments)``, ``check_device_kind(kind)``.

`state_files`, `routing_tables`, `interface_tables`
    Meta plugins: small files, whole or not there; routes that go to other tables
    (``table_routes``, ``tables_in_use``, ``kept_fields``, ``lock_namespace``), and where CHECK of
    main plugins finds them then (``other_tables``).

At the process's edges stand `process` (environment, standard input and output) and `namespaces`.

A module that an executable imports loads nothing but C modules, `podway.cni` and `podway.netlink`
(``tests/unit/plugins/test_import_light.py`` holds the list): the process lives about 10 ms.
"""
