#!/bin/bash
# Build podway's container image with buildah from a Debian root that debootstrap makes: no image
# registry is asked for anything.
#
#   deploy/image/build.sh [TAG]       default: localhost/podway:VERSION; needs root
#
# In: this checkout; apt's Debian mirror; debootstrap, buildah, patchelf, python3-venv. Out: an image
# in buildah's storage (options for buildah in BUILDAH_OPTIONS). The Debian root is kept in
# ${XDG_CACHE_HOME:-$HOME/.cache}/podway and used again.
#
# What is special: CNI plugins run on the node, not in the container, and a node may have no Python.
# So the image carries a Python in /opt/podway/BUILD that finds its own libraries and its own ld.so
# there, and `install-on-host` copies that directory to the same place on the node.

set -euo pipefail
cd "$(dirname "$0")/../.."
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
tag=${1:-localhost/podway:$version}
suite=bookworm
cache=${XDG_CACHE_HOME:-$HOME/.cache}/podway
read -ra options <<<"${BUILDAH_OPTIONS:-}"
work=$(mktemp -d --tmpdir podway-image.XXXXXX)
trap 'rm -rf "$work"' EXIT
root=$work/root
# A node keeps several builds beside each other, so their names must differ when they do.
build=$version-$(find src pyproject.toml constraints.txt deploy/image -type f -not -name '*.pyc' \
  -not -name '*.bundle' -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -c1-12)
opt=/opt/podway/$build

make_root() {
  local tar=$cache/debian-$suite.tar mirror
  if [ ! -e "$tar" ]; then
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' \
      "Codename: $suite" | head -1)
    mkdir -p "$cache"
    debootstrap --variant=minbase \
      --include=python3,ca-certificates,iproute2,libnftables1,wireguard-go \
      "$suite" "$root" "${mirror:-http://deb.debian.org/debian}" >"$work/debootstrap.log" ||
      { tail -20 "$work/debootstrap.log" >&2; exit 1; }
    rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale}/*
    # The container's own, at run time.
    rm -rf "$root"/etc/{hostname,resolv.conf} "$root"/dev/*
    tar --create --file "$tar.new" --directory "$root" . && mv "$tar.new" "$tar"
    rm -rf "$root"
  fi
  mkdir "$root"
  tar --extract --file "$tar" --directory "$root"
}

# Debian's Python with everything that it loads, moved to where it can also stand on a node.
make_python() {
  local python="$root$opt/bin/python3.11" loader file
  mkdir -p "$root$opt"/{bin,lib/python3/dist-packages}
  cp "$root/usr/bin/python3.11" "$python"
  cp -a "$root/usr/lib/python3.11" "$root$opt/lib/"
  loader=$(patchelf --print-interpreter "$python")
  cp -L "$root$loader" "$root$opt/lib/"
  for file in "$python" "$root$opt"/lib/python3.11/lib-dynload/*.so; do
    chroot "$root" ldd "${file#"$root"}" | sed -n 's/.* => \(\/[^ ]*\).*/\1/p'
  done | sort -u | while read -r file; do cp -L "$root$file" "$root$opt/lib/"; done
  patchelf --set-interpreter "$opt/lib/${loader##*/}" --force-rpath --set-rpath "$opt/lib" "$python"
}

install_podway() {
  local places="$root$opt/lib/python3/dist-packages"
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile \
    --constraint constraints.txt --target "$places" ".[kubeconfig]"
  chroot "$root" "$opt/bin/python3.11" -m compileall -q "$opt/lib" || true
  ln -s "$build" "$root/opt/podway/current"
  install -m 755 deploy/image/install-on-host deploy/image/podway "$root/opt/podway/"
  ln -s /opt/podway/podway "$root/usr/local/bin/podway"
  install -D -m 755 deploy/image/flanneld "$root/opt/bin/flanneld"
  # What plugins load at once is compiled into one file; here, where it can be written.
  chroot "$root" podway cni install --create --no-conf /opt/podway/cni >/dev/null
  rm -rf "$root/opt/podway/cni"
  touch "$root$opt/complete"
}

make_root
make_python
install_podway
container=$(buildah "${options[@]}" from scratch)
trap 'buildah "${options[@]}" rm "$container" >/dev/null; rm -rf "$work"' EXIT
buildah "${options[@]}" copy --quiet "$container" "$root" / >/dev/null
buildah "${options[@]}" config --entrypoint '["/opt/podway/podway"]' --cmd '["--help"]' \
  --env LANG=C.UTF-8 --label "org.opencontainers.image.title=podway" \
  --label "org.opencontainers.image.version=$version" "$container"
buildah "${options[@]}" commit --quiet "$container" "$tag" >/dev/null
echo "$tag"
