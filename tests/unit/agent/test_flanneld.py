"""flanneld's command line and environment, said to podway."""

from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from podway.agent.flanneld import Translation, translate
from podway.agent.flanneld_flags import FLAGS, WITHOUT_USE, render_usage
from podway.agent.goflags import FlagError, GoFlag, number, parse_go_flags
from podway.agent.settings import Settings
from podway.errors import ConfigError
from podway.model.secret import Secret

HERE = {"PODWAY_NODE": "n1"}
KUBE = ("-kube-subnet-mgr",)
ETCD = "etcd:http://127.0.0.1:4001,http://127.0.0.1:2379/coreos.com/network"

SIMPLE = {
    "on": GoFlag("flag", "false", ""),
    "text": GoFlag("text", "", ""),
    "many": GoFlag("list", "", ""),
    "count": GoFlag("number", "0", ""),
}


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("", {}),
        ("-on", {"on": ["true"]}),
        ("--on", {"on": ["true"]}),
        ("-on=false", {"on": ["false"]}),
        ("--on=T", {"on": ["T"]}),
        ("-on false -text x", {"on": ["true"]}),  # the first word that is no flag ends them
        ("-text x", {"text": ["x"]}),
        ("-text=x=y", {"text": ["x=y"]}),
        ("-text -on", {"text": ["-on"]}),
        ("-text=", {"text": [""]}),
        ("-many a --many=b", {"many": ["a", "b"]}),
        ("-text a -text b", {"text": ["a", "b"]}),
        ("-count 0x10", {"count": ["0x10"]}),
        ("-on -- -text x", {"on": ["true"]}),
        ("-on - -text x", {"on": ["true"]}),
        ("-h", {"help": ["true"]}),
        ("-on --help", {"help": ["true"]}),
    ],
)
def test_words_as_go_reads_them(words: str, values: dict[str, list[str]]) -> None:
    assert parse_go_flags(SIMPLE, words.split(), {}, "X") == values


@pytest.mark.parametrize(
    "words",
    ["-none", "---on", "-=x", "-text", "-on=maybe", "-count=x", "-count 1.5", "--none=1"],
)
def test_words_that_go_refuses(words: str) -> None:
    with pytest.raises(FlagError):
        parse_go_flags(SIMPLE, words.split(), {}, "X")


def test_the_environment_stands_in_for_what_the_line_does_not_have() -> None:
    environ = {"X_ON": "1", "X_TEXT": "there", "X_MANY": "a,b", "Y_COUNT": "7", "X_COUNT": ""}
    given = parse_go_flags(SIMPLE, ["-text", "here"], environ, "X")
    assert given == {"text": ["here"], "on": ["1"], "many": ["a,b"]}
    with pytest.raises(FlagError):
        parse_go_flags(SIMPLE, [], {"X_COUNT": "many"}, "X")


@pytest.mark.parametrize(
    ("text", "value"),
    [("10", 10), ("0x1f", 31), ("010", 8), ("0b11", 3), ("-5", -5), ("1_000", 1000)],
)
def test_numbers_as_go_reads_them(text: str, value: int) -> None:
    assert number(text) == value


def said(*words: str, **environ: str) -> Translation:
    return translate(words, HERE | environ)


def test_without_a_word_it_is_flannels_default() -> None:
    assert said().settings == Settings(
        node="n1",
        store=ETCD,
        subnet_file=Path("/run/flannel/subnet.env"),
        device_prefix="flannel",
        foreign_pods=True,
        take_over=True,
        masquerade="off",
        wireguard_key=Path("/run/flannel/wgkey"),
    )


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        ("-ip-masq", "masquerade", "on"),
        ("-ip-masq=false", "masquerade", "off"),
        ("--iface eth1 --iface=10.0.0.1", "uplinks", ("eth1", "10.0.0.1")),
        ("-iface-regex ^10\\. -iface-regex eth.*", "uplink_patterns", ("^10\\.", "eth.*")),
        ("-iface-can-reach 192.0.2.9", "uplink_can_reach", ip_address("192.0.2.9")),
        ("-public-ip 192.0.2.1", "public_ips", (ip_address("192.0.2.1"),)),
        ("-public-ipv6 2001:db8::1", "public_ips", (ip_address("2001:db8::1"),)),
        ("-subnet-file /x/y.env", "subnet_file", Path("/x/y.env")),
        ("-healthz-port 8081", "http", "0.0.0.0:8081"),
        ("-healthz-ip ::1 -healthz-port 8081", "http", "[::1]:8081"),
        ("-healthz-ip 127.0.0.1", "http", ""),
        ("-iptables-forward-rules=false", "no_forward_rules", True),
        ("-ip-blackhole-route", "refuse_unassigned", True),
        ("-v 4", "log_level", "debug"),
        (
            "-etcd-endpoints http://10.0.0.1:2379/",
            "store",
            "etcd:http://10.0.0.1:2379/coreos.com/network",
        ),
        ("-etcd-prefix /blue/", "store", ETCD.replace("/coreos.com/network", "/blue")),
        ("-etcd-endpoints 10.0.0.1:2379", "store", "etcd:http://10.0.0.1:2379/coreos.com/network"),
        (
            "-etcd-endpoints 10.0.0.1:2379,10.0.0.2:2379 -etcd-certfile c -etcd-keyfile k",
            "store",
            "etcd:https://10.0.0.1:2379,https://10.0.0.2:2379/coreos.com/network",
        ),
        ("-kube-subnet-mgr", "store", "kubernetes:?net-conf=/etc/kube-flannel/net-conf.json"),
        (
            (
                "-kube-subnet-mgr -kubeconfig-file /k -net-config-path /n "
                "-kube-annotation-prefix a.b "
                "-set-node-network-unavailable=false -kube-api-url https://1.2.3.4:6443"
            ),
            "store",
            (
                "kubernetes:/k?net-conf=/n&annotation-prefix=a.b&set-network-unavailable=false"
                "&server=https://1.2.3.4:6443"
            ),
        ),
    ],
)
def test_each_flag_has_its_setting(words: str, field: str, value: Any) -> None:
    assert getattr(said(*words.split()).settings, field) == value


def test_a_flag_may_come_from_the_environment() -> None:
    settings = said("-ip-masq", FLANNELD_IP_MASQ="false", FLANNELD_IFACE="eth7").settings
    assert (settings.masquerade, settings.uplinks) == ("on", ("eth7",))


def test_certificates_count_with_https_and_as_a_pair() -> None:
    https = "-etcd-endpoints=https://e:2379"
    both = said(https, "-etcd-cafile=a", "-etcd-certfile=c", "-etcd-keyfile=k").settings
    assert (both.tls_ca, both.tls_cert, both.tls_key) == (Path("a"), Path("c"), Path("k"))
    half = said(https, "-etcd-cafile=a", "-etcd-certfile=c").settings
    assert (half.tls_ca, half.tls_cert, half.tls_key) == (Path("a"), None, None)
    plain = said("-etcd-cafile=a").settings
    assert (plain.tls_ca, plain.tls_cert) == (None, None)


def test_a_password_is_taken_and_told_about() -> None:
    line = said("-etcd-username", "u", "-etcd-password", "secret")
    assert (line.password, line.settings.store_user) == (Secret("secret"), "u")
    assert "secret" not in repr(line)
    assert any("process listings" in notice for notice in line.notices)
    assert any("without TLS" in notice for notice in line.notices)
    assert line.settings.plaintext
    environment = said("-etcd-username=u", FLANNELD_ETCD_PASSWORD="secret")
    assert environment.password == Secret("secret")
    assert not any("process listings" in notice for notice in environment.notices)
    file = said("-etcd-username=u", PODWAY_STORE_PASSWORD_FILE="/p").settings
    assert file.store_password_file == Path("/p")


@pytest.mark.parametrize(
    ("environ", "node", "pod"),
    [
        ({"NODE_NAME": "k1"}, "k1", None),
        ({"POD_NAME": "p", "POD_NAMESPACE": "s"}, "", ("s", "p")),
        ({"NODE_NAME": "k1", "POD_NAME": "p", "POD_NAMESPACE": "s"}, "k1", None),
    ],
)
def test_which_node_of_kubernetes(
    environ: dict[str, str], node: str, pod: tuple[str, str] | None
) -> None:
    found = translate(KUBE, environ)
    assert (found.settings.node, found.pod) == (node, pod)


@pytest.mark.parametrize(
    "words",
    [
        "-subnet-lease-renew-margin 0",
        "-subnet-lease-renew-margin 1440",
        "-public-ip nowhere",
        "-public-ip 2001:db8::1",
        "-public-ipv6 192.0.2.1",
        "-iface-can-reach eth0",
        "-iface-regex [",
        "-healthz-port 65536",
        "-etcd-prefix network",
        "-etcd-endpoints ,",
        "-etcd-username u",
        "-kube-subnet-mgr",
    ],
)
def test_values_that_break_a_rule(words: str) -> None:
    with pytest.raises(ConfigError):
        translate(words.split(), {"PODWAY_NODE": "n1"} if "kube" not in words else {})


@pytest.mark.parametrize("name", WITHOUT_USE)
def test_flags_without_use_are_taken_and_told_about(name: str) -> None:
    word = f"-{name}" if FLAGS[name].kind == "flag" else f"-{name}=7"
    notices = said(word).notices
    assert len(notices) == 1
    assert name in notices[0]


def test_every_flag_is_taken_and_shown() -> None:
    usage = render_usage()
    for name, flag in FLAGS.items():
        assert f"  -{name}\n" in usage
        parse_go_flags(FLAGS, [f"-{name}={flag.default}"], {}, "FLANNELD")


@pytest.mark.parametrize(
    ("word", "asks"), [("-version", "version"), ("--help", "help"), ("-h", "help")]
)
def test_questions(word: str, asks: str) -> None:
    assert translate([word], {}).asks == asks


def test_several_in_one_namespace_have_an_instance() -> None:
    settings = said(PODWAY_INSTANCE="blue").settings
    assert settings.run_dir == Path("/run/podway-blue")
    assert settings.names.marks.table == "podway-blue"
