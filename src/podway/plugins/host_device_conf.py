"""The configuration of the ``host-device`` plugin: which device, and what comes with it.

In: a call. Out: `HostDeviceConf`, checked. Several keys name a device; of those that are given the
first counts, in the order of the reference plugin: ``device``, ``hwaddr``, ``kernelpath``,
``runtimeConfig.deviceID``, ``pciBusID``. Names of hardware become paths in sysfs, so no key may
lead anywhere else.
"""

from podway.cni.errors import INVALID_CONFIG, UNSUPPORTED_FIELD, CniError, broken_rule
from podway.cni.fields import Fields
from podway.cni.values import Value
from podway.plugins.ipam_keys import parse_path
from podway.plugins.link_fields import parse_device_name, plugin_fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from podway.plugins.skeleton import Call

DATA_DIR: "Final" = "/run/cni/host-device"
PCI_KEY: "Final" = "pciBusID"
KERNEL_PATH_START: "Final" = "/sys/devices/"
# EUI-48, EUI-64 and InfiniBand; what Go's net.ParseMAC takes.
_MAC_BYTES: "Final" = (6, 8, 20)
_ID_MARKS: "Final" = ".:_-"


class HostDeviceConf(Value):
    """What the configuration asks for.

    Attributes:
        device: name of the device, "" for none.
        mac: its MAC address, in lower case with colons, "" for none.
        kernel_path: directory of the hardware in sysfs, "" for none.
        hardware_id: address on the PCI bus, or name on the auxiliary bus, "" for none.
        hardware_key: which key says so, for messages.
        data_dir: where what the host loses is kept until the device comes back.
    """

    device: str
    mac: str
    kernel_path: str
    hardware_id: str
    data_dir: str
    hardware_key: str = PCI_KEY

    @property
    def names_device(self) -> bool:
        """One of the keys says which device it is."""
        return bool(self.device or self.mac or self.kernel_path or self.hardware_id)


def parse_conf(call: "Call") -> HostDeviceConf:
    """Return the configuration.

    Raises:
        CniError: INVALID_CONFIG, or UNSUPPORTED_FIELD for ``useInterfaceNetwork``.
    """
    fields = plugin_fields(call.config)
    if fields.boolean("useInterfaceNetwork"):
        rule = "is not supported: give the container's addresses in ipam"
        raise broken_rule("useInterfaceNetwork", value=True, rule=rule, code=UNSUPPORTED_FIELD)
    runtime = Fields(call.config.runtime_config, "runtimeConfig", INVALID_CONFIG)
    device_id = _parse_id(runtime, "deviceID")
    return HostDeviceConf(
        device=parse_device_name(fields, "device"),
        mac=_parse_mac(fields),
        kernel_path=_parse_kernel_path(fields),
        hardware_id=device_id or _parse_id(fields, PCI_KEY),
        data_dir=parse_data_dir(call),
        hardware_key=runtime.where("deviceID") if device_id else PCI_KEY,
    )


def parse_data_dir(call: "Call") -> str:
    """Return ``dataDir``.

    Raises:
        CniError: INVALID_CONFIG.
    """
    return parse_path(plugin_fields(call.config), "dataDir", DATA_DIR).rstrip("/")


def require_device(conf: HostDeviceConf) -> None:
    """Refuse a configuration that names no device.

    Raises:
        CniError: INVALID_CONFIG.
    """
    if not conf.names_device:
        raise CniError(
            INVALID_CONFIG,
            "no device is named: give device, hwaddr, kernelpath or pciBusID, or let the runtime "
            "give runtimeConfig.deviceID",
        )


def parse_hardware_address(text: str) -> str:
    """Return 6, 8 or 20 bytes in lower case with colons; they may come with hyphens or dots.

    Raises:
        ValueError: something else.
    """
    digits = text.lower()
    for mark, size in ((":", 2), ("-", 2), (".", 4)):
        parts = digits.split(mark)
        if len(parts) > 1 and all(len(part) == size for part in parts):
            digits = "".join(parts)
            break
    else:
        raise ValueError("must be a MAC address, as 0a:58:0a:f4:00:05")
    if not set(digits) <= set("0123456789abcdef") or len(digits) // 2 not in _MAC_BYTES:
        raise ValueError("must be 6, 8 or 20 bytes, hexadecimal")
    return ":".join(digits[n : n + 2] for n in range(0, len(digits), 2))


def _parse_mac(fields: Fields) -> str:
    text = fields.text("hwaddr")
    if not text:
        return ""
    try:
        return parse_hardware_address(text)
    except ValueError as error:
        raise fields.refused("hwaddr", text, str(error)) from None


def _parse_kernel_path(fields: Fields) -> str:
    path = fields.text("kernelpath")
    if not path:
        return ""
    if not path.startswith(KERNEL_PATH_START):
        raise fields.refused("kernelpath", path, f"must begin with {KERNEL_PATH_START}")
    if "\0" in path or any(part in {".", ".."} for part in path.split("/")):
        raise fields.refused("kernelpath", path, "must not lead elsewhere: no '.', no '..'")
    return path


def _parse_id(fields: Fields, key: str) -> str:
    """Return the name of hardware on its bus (``0000:00:1f.6``, ``mlx5_core.sf.4``)."""
    text = fields.text(key)
    if not text:
        return ""
    plain = text.isascii() and all(letter.isalnum() or letter in _ID_MARKS for letter in text)
    if not plain or not text[0].isalnum():
        raise fields.refused(key, text, "must be an address on a bus, as 0000:00:1f.6")
    return text
