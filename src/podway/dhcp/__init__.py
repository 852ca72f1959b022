"""The daemon behind the CNI plugin ``dhcp``: gets leases from DHCP servers and keeps them.

::

    executable ── frame, namespace ──> server ──> service ──> client ──> machine (pure), over
                                                                │        leases, options, packets
                                                                ├──> sockets (datagrams), interfaces
                                                                └──> lease_files

One process and one thread for all leases of a node. A lease at rest is a timer and a file: sockets
are open only while the server is being talked to.
"""
