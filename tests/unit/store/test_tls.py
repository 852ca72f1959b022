"""A key that has a password: refused at once, by whoever would read it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from podway.hub.certs import write_certificates

PASSWORD = "s3cret"
LOADERS = {
    "hub": "from podway.store.tls import *; server_context(TlsFiles(ca=ca, cert=cert, key=key))",
    "etcd": "from podway.store.etcd_open import *; "
    "client_context(StoreAccess(tls_ca=ca, tls_cert=cert, tls_key=key))",
    "kubernetes": "from podway.store.kubeconfig import *; "
    "login_by_kubeconfig(ca.with_name('kubeconfig'))",
}
# There is no terminal, so OpenSSL would ask standard input.
PROGRAM = """
import sys
from pathlib import Path
from podway.errors import ConfigError
ca, cert, key = (Path(sys.argv[1], name) for name in ("ca.crt", "a.crt", "a.key"))
try:
    exec(sys.argv[2])
except ConfigError as error:
    print("refused", error.value, sys.stdin.read())
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return a directory with certificates, where the key of "a" has a password."""
    write_certificates(tmp_path, ["a"])
    key = serialization.load_pem_private_key((tmp_path / "a.key").read_bytes(), password=None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(PASSWORD.encode()),
    )
    (tmp_path / "a.key").write_bytes(encrypted)
    (tmp_path / "kubeconfig").write_text(json.dumps(KUBECONFIG))
    return tmp_path


KUBECONFIG = {
    "current-context": "c",
    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    "clusters": [
        {
            "name": "c",
            "cluster": {"server": "https://192.0.2.1", "certificate-authority": "ca.crt"},
        }
    ],
    "users": [{"name": "u", "user": {"client-certificate": "a.crt", "client-key": "a.key"}}],
}


@pytest.mark.parametrize("loader", LOADERS.values(), ids=LOADERS)
def test_nobody_is_asked_for_the_password_of_a_key(directory: Path, loader: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(directory), loader],
        input=PASSWORD,
        capture_output=True,
        text=True,
        start_new_session=True,
        check=True,
    )
    assert done.stdout.split() == ["refused", str(directory / "a.key"), PASSWORD]
    assert done.stderr == ""
