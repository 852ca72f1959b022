"""The ``host-device`` executable, told of hardware: PCI, auxiliary bus, kernel path."""

import pytest

from netns.conftest import Netns
from netns.plugins.cni_runtime import Document, Runtime, devices, link_of, with_previous
from netns.plugins.host_devices import host_device, with_ipam
from podway.cni.errors import INVALID_CONFIG, UNAVAILABLE

PCI = "0000:00:1f.6"
pytestmark = pytest.mark.usefixtures("dev0")


def hardware(runtime: Runtime, below: str, driver: str = "virtio-pci") -> tuple[str, ...]:
    """Return what executes a plugin where sysfs says that dev0 is the device at PCI."""
    root = runtime.directory / "sys"
    bus = root / "bus" / "pci"
    (bus / "devices" / PCI).mkdir(parents=True)
    (bus / "drivers" / driver).mkdir(parents=True)
    (bus / "devices" / PCI / "driver").symlink_to(f"../../drivers/{driver}")
    if below:
        (root / below / "dev0").mkdir(parents=True)
    return ("unshare", "-m", "sh", "-c", 'mount --bind "$0" /sys && exec "$@"', str(root))


@pytest.mark.parametrize(
    ("below", "keys"),
    [
        pytest.param(f"bus/pci/devices/{PCI}/net", {"pciBusID": PCI}, id="PCI"),
        pytest.param(f"bus/pci/devices/{PCI}/virtio3/net", {"pciBusID": PCI}, id="virtio"),
        pytest.param(
            f"bus/pci/devices/{PCI}/net",
            {"pciBusID": "0000:99:00.0", "runtimeConfig": {"deviceID": PCI}},
            id="the runtime's comes first",
        ),
        pytest.param(
            "bus/auxiliary/devices/mlx5_core.sf.4/net",
            {"runtimeConfig": {"deviceID": "mlx5_core.sf.4"}},
            id="auxiliary bus",
        ),
        pytest.param(
            "devices/pci0000:00/0000:00:19.0/net",
            {"kernelpath": "/sys/devices/pci0000:00/0000:00:19.0"},
            id="kernel path",
        ),
    ],
)
def test_by_hardware(below: str, keys: Document, runtime: Runtime, pod: Netns) -> None:
    prefix = hardware(runtime, below)
    config = host_device(runtime, device="", **keys)
    assert runtime.call("STATUS", config, prefix=prefix).code == 0
    result = runtime.add(config, pod, prefix=prefix)
    on_pci = "bus/pci" in below
    assert result["interfaces"][0].get("pciID") == (PCI if on_pci else None)
    assert link_of(pod, "eth0")["ifalias"] == "dev0"
    assert runtime.call("CHECK", with_previous(config, result), pod, prefix=prefix).code == 0
    # DEL needs no sysfs: the hardware may be gone by then.
    assert runtime.call("DEL", host_device(runtime, device=""), pod).code == 0
    assert "dev0" in devices(runtime.host)


@pytest.mark.parametrize("driver", ["vfio-pci", "uio_pci_generic", "igb_uio"])
def test_hardware_that_a_program_drives(driver: str, runtime: Runtime, pod: Netns) -> None:
    prefix = hardware(runtime, "", driver)
    config = with_ipam(runtime, device="", pciBusID=PCI)
    result = runtime.add(config, pod, prefix=prefix)
    assert "interfaces" not in result
    assert [ip["address"] for ip in result["ips"]] == ["10.1.0.2/24", "fd01::2/64"]
    assert devices(pod) == set()
    checked = with_previous(config, result)
    assert runtime.call("CHECK", checked, pod, prefix=prefix).code == 0
    assert runtime.call("STATUS", config, prefix=prefix).code == 0
    assert runtime.call("DEL", checked, pod, prefix=prefix).code == 0
    assert runtime.reserved() == set()
    bare = host_device(runtime, device="", pciBusID=PCI)
    assert runtime.add(bare, pod, prefix=prefix) == {"cniVersion": "1.1.0"}


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param({"pciBusID": "0000:ff:1f.7"}, id="no such hardware"),
        pytest.param({"kernelpath": "/sys/devices/none"}, id="no such path"),
    ],
)
def test_no_such_hardware(keys: Document, runtime: Runtime, pod: Netns) -> None:
    config = host_device(runtime, device="", **keys)
    assert runtime.call("ADD", config, pod).code == INVALID_CONFIG
    assert runtime.call("STATUS", config).code == UNAVAILABLE
