"""The daemon behind the CNI plugin ``dhcp``: gets leases from DHCP servers and keeps them.

::

    executable ── frame, namespace ──> server ──> service ──> client ──> machine
                                                                ├──> line ──> sockets, interfaces
                                                                └──> lease_files

Pure are `machine` (the life of a lease) with `states`, `moves`, `replies`, `messages` and `pauses`;
`leases` and `options` (what a server gave); `packets` and `datagrams` (bytes).

One process and one thread for all leases of a node. A lease at rest is a timer and a file: sockets
are open only while the server is being talked to.
"""
