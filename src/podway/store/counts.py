"""What a store's client counts of itself, for the agent's metrics."""


class StoreCounts:
    """Counters of one client; whoever counts adds to them.

    Attributes:
        requests: sent so far, watches among them.
        malformed: entries of others that cannot be read, and are passed over, now.
        passed_over: such entries met so far.
        relists: times that everything was read anew.
    """

    def __init__(self) -> None:
        self.requests = 0
        self.malformed = 0
        self.passed_over = 0
        self.relists = 0
