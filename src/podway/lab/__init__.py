"""A whole cluster on one machine: every node a network namespace, running the production programs.

`specs`, `underlay` and `topology` decide (pure: a `LabSpec` in, namespaces, links, addresses and
processes out). The rest carries out: `labs` (up and down), `namespaces`, `processes`, `readiness`,
`runtime` (the part of a container runtime), `faults`, `ping`, `throughput`, `teardown`. Nothing is
made in the machine's own network namespace; what a lab is made of is found again by its names, even
when its state file is lost.
"""
