#!/usr/bin/env bash
# Builds what the benchmark compares with, from Go modules: etcd 3.6.8 and kube-apiserver 1.36.3, into $PEERS/bin (default ~/.cache/tenet-peers/bin). About ten minutes on two cores, once.
set -euo pipefail
PEERS=${PEERS:-$HOME/.cache/tenet-peers}; V=1.36.3; ETCD=v3.6.8
mkdir -p "$PEERS/bin" "$PEERS/mod" "$PEERS/etcdmod"
export GOFLAGS=-mod=mod
if [ ! -x "$PEERS/bin/etcd" ]; then
  cd "$PEERS/etcdmod"
  [ -f go.mod ] || go mod init peers-etcd
  go get "go.etcd.io/etcd/server/v3@$ETCD"
  go build -trimpath -ldflags "-s -w" -o "$PEERS/bin/etcd" go.etcd.io/etcd/server/v3
fi
if [ ! -x "$PEERS/bin/kube-apiserver" ]; then
  cd "$PEERS/mod"
  D=$(go mod download -json "k8s.io/kubernetes@v$V" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
  # The monorepo's go.mod replaces its staging modules by folders that the module zip does not have: take the published ones.
  sed -e 's#^module .*#module peers#' -e "s#=> ./staging/src/\(k8s.io/[a-z0-9-]*\)#=> \1 v0.${V#1.}#" "$D/go.mod" >go.mod
  cp "$D/go.sum" go.sum
  chmod u+w go.mod go.sum
  go mod edit -require "k8s.io/kubernetes@v$V"
  X=k8s.io/component-base/version
  go build -trimpath -ldflags "-s -w -X $X.gitVersion=v$V -X $X.gitMajor=1 -X $X.gitMinor=36" -o "$PEERS/bin/kube-apiserver" k8s.io/kubernetes/cmd/kube-apiserver
fi
ls -l "$PEERS/bin"
