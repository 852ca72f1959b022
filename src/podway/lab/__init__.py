"""A whole cluster on one machine: every node a network namespace, running the production programs.

`topology` decides (pure: a `LabSpec` in, namespaces, links, addresses and processes out); the rest
carries out: `namespaces`, `processes`, `readiness`, `runtime` (the part of a container runtime),
`labs` (up and down), `faults`, `ping`, `throughput`. Nothing is made in the machine's own network
namespace; what a lab is made of is found again by its names, even when its state file is lost.
"""
