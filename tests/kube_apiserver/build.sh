#!/bin/bash
# Build kube-apiserver and kube-controller-manager from Debian 12's source package "kubernetes".
#
#   build.sh [DIRECTORY]     default: ${XDG_CACHE_HOME:-$HOME/.cache}/podway/kubernetes-1.20.2
#
# In: apt's own mirrors (asked for source packages through private lists; the machine's stay as
# they are), golang-go, dpkg-dev. Out: the two programs in DIRECTORY. `make test` calls this; it
# takes some minutes once per machine, and nothing when the programs are there.
#
# Why not Debian's binary packages: there are none of the servers, only of kubectl.

set -euo pipefail

version=1.20.2
target=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/podway/kubernetes-$version}
programs=(kube-apiserver kube-controller-manager)

complete() {
  local program
  for program in "${programs[@]}"; do [ -x "$target/$program" ] || return 1; done
}

# Everything happens beside the target and is moved there when it is whole; two builds at once
# wait for each other.
if complete; then exit 0; fi
mkdir -p "$target"
exec 9>"$target/lock"
flock 9
if complete; then exit 0; fi
work=$(mktemp -d "$target/build.XXXXXX")
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
cd "$work"

fetch_source() {
  mkdir -p lists/partial
  apt-get indextargets --format 'deb-src $(REPO_URI) $(RELEASE) $(COMPONENT)' \
    'Created-By: Packages' 'Origin: Debian' | sort -u >sources.list
  # A machine whose lists were cleaned away knows no targets; Debian's own mirror has it all.
  [ -s sources.list ] || echo 'deb-src http://deb.debian.org/debian bookworm main' >sources.list
  local private=(-o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o "Dir::State::Lists=$work/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=
    -o APT::Sandbox::User=root)
  apt-get "${private[@]}" --quiet --quiet update
  apt-get "${private[@]}" --quiet --quiet --download-only source kubernetes
  dpkg-source --no-check --extract kubernetes_*.dsc tree >/dev/null
}

# The OpenAPI definitions are not in the source package: the tree's own generator makes them.
generate_openapi() {
  local root=k8s.io/kubernetes packages
  go build -o "$work/openapi-gen" $root/vendor/k8s.io/kube-openapi/cmd/openapi-gen
  cd "$GOPATH/src/$root"
  packages=$(
    grep --recursive --files-with-matches --include='*.go' '+k8s:openapi-gen=' pkg staging |
      xargs -n1 dirname | sort -u |
      sed -e "s#^staging/src/#$root/vendor/#" -e "s#^pkg/#$root/pkg/#" | paste -s -d,
  )
  "$work/openapi-gen" --go-header-file hack/boilerplate/boilerplate.generatego.txt \
    --output-file-base zz_generated.openapi --output-package $root/pkg/generated/openapi \
    --input-dirs "$packages" --report-filename "$work/openapi-violations" --logtostderr --v 0
}

echo "building Kubernetes $version from Debian's source package (once, some minutes)" >&2
fetch_source
export GOPATH="$work/go" GOCACHE="$work/cache" GO111MODULE=off CGO_ENABLED=0 GOFLAGS=
mkdir -p "$GOPATH/src/k8s.io"
ln -s "$work/tree" "$GOPATH/src/k8s.io/kubernetes"
(cd "$GOPATH/src/k8s.io/kubernetes" && generate_openapi)
cd "$GOPATH/src/k8s.io/kubernetes"
for program in "${programs[@]}"; do
  go build -ldflags '-s -w' -o "$work/$program" "k8s.io/kubernetes/cmd/$program"
done
cd "$work" && mv "${programs[@]}" "$target/"
echo "built ${programs[*]} in $target" >&2
