"""The node's own process: learns from the store, decides, and keeps this node's kernel so.

`agent` is the loop, `desires` what is computed when, `cluster` what the store has said, `ledger`
what outlives the process, `ipam` who has which address, `attachments` the CNI calls, `leases` the
node's own subnet, `operators` the calls of people, `metrics` and `health` what is told to machines.
"""
