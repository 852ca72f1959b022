"""The embedded store: one process that keeps the cluster's state in SQLite and tells every agent.

The way of a request: `sessions` (bytes to frames) -> `access` (may it?) -> `claims` and `writes`
(pure: state and request to changes) -> `ledger` (one transaction for all that came together) ->
`feed` (one encoding of what changed, for every watcher).
"""
