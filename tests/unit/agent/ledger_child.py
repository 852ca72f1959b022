"""A process that gives addresses away and takes them back until it is killed.

    python ledger_child.py PATH SEED

On standard output it says before each change what it is about to do (``? add c7``) and after it
that the change was acknowledged, with the address (``! add c7 10.244.1.9``).
"""

import os
import random
import sys
from ipaddress import ip_network
from pathlib import Path

from podway.agent.ipam import Ipam
from podway.agent.ledger import Ledger
from podway.model.addresses import Family
from podway.model.endpoints import Endpoint, EndpointKey


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def main(path: str, seed: str) -> None:
    chance = random.Random(seed)
    ledger = Ledger(Path(path))
    ipam = Ipam(ledger, cooldown_s=0.001)
    ipam.set_subnets({Family.IPV4: ip_network("10.244.1.0/26")})
    live = {key: item.addresses for key, (item, _) in ledger.endpoints().items()}
    number = 0
    say("ready")
    while True:
        number += 1
        if len(live) < 50 and (not live or chance.random() < 0.55):
            key = EndpointKey("net", f"{seed}-{number}", "eth0")
            say(f"? add {key.container_id}")
            addresses = ipam.take(())
            item = Endpoint(key=key, netns="", addresses=addresses, attach="bridge", mtu=1500)
            ipam.add(item, "")
            live[key] = addresses
            say(f"! add {key.container_id} {addresses[0]}")
        else:
            key = chance.choice(sorted(live))
            say(f"? del {key.container_id}")
            ipam.remove(key, live.pop(key))
            say(f"! del {key.container_id} -")


if __name__ == "__main__":
    main(*sys.argv[1:])
