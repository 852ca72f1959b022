"""The user-space tunnel: a process that carries packets between a TUN device and UDP sockets.

What the agent knows of it is `control`, its client; everything else runs in the process itself,
which lives beside the agent and outlives it. Pure: `packets` and `checksums`; podway's format in
`segments`, `cutting`, `joining`, `heads`; flannel's in `bare`; `icmp`, `peers`, `limits`. Effects:
`tun`, `sockets`, `outgoing`, `incoming`, `relay`.

docs/design/udp.md tells how it works and what each step gained.
"""
