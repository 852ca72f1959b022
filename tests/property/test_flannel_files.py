"""Configurations that flannel keeps, with the original at work in the same directory.

The original keeps one file for each container: an ADD of its own overwrites it, a DEL of its own
reads and removes it. Whatever the two do in turn, podway finds what podway kept.
"""

import json
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from podway.plugins.flannel_files import Attachment, KeptConf, KeptConfs

OWNERS = [
    Attachment(container_id=container_id, ifname=ifname)
    for container_id in ("c1", "c2")
    for ifname in ("eth0", "eth1")
]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "delete", "original adds", "original deletes", "tear"]),
        st.sampled_from(OWNERS),
        st.integers(1, 3),
    ),
    max_size=20,
)


@given(STEPS)
def test_what_is_kept_is_found(
    steps: list[tuple[str, Attachment, int]],
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        kept = KeptConfs(directory, "net")
        ours: dict[Attachment, dict[str, object]] = {}
        for verb, owner, mtu in steps:
            document: dict[str, object] = {"type": "bridge", "name": "net", "mtu": mtu}
            shared = Path(directory, owner.container_id)
            match verb:
                case "add":
                    kept.keep(owner, document)
                    ours[owner] = document
                case "delete":
                    kept.forget(owner)
                    ours.pop(owner, None)
                case "original adds":
                    shared.write_text(json.dumps(document))
                case "original deletes":
                    shared.unlink(missing_ok=True)
                case _:
                    shared.write_text("{")
            for each, told in ours.items():
                assert kept.find(each) == KeptConf(document=told)
        for owner in (*tuple(kept.all()), *OWNERS):
            kept.forget(owner)
        assert list(Path(directory).iterdir()) == []
