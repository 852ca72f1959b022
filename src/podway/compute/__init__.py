"""Pure functions: from what the cluster is to what this node's kernel should hold.

Each module answers one question from values alone, so a reader can learn a technique (VXLAN, routed
pods, masquerade) from its file, and a test needs nothing but a table.
"""
