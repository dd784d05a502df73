#!/usr/bin/env bash
# make up: starts Tenet on this machine, brings in the image of README's example, runs the example and shows that it works. Doing it again is harmless.
set -euo pipefail
cd "$(dirname "$0")/.."
T=$PWD/bin/tenet
if [ "$(id -u)" != 0 ]; then
  echo "make up starts containers and needs root: sudo make up" >&2
  exit 1
fi
"$T" up --detach

if "$T" image ls | grep -q '^docker.io/library/nginx:stable '; then
  echo "image nginx:stable is here already"
elif timeout 120 "$T" image pull nginx:stable; then
  :
else
  echo "Docker Hub can not be reached: building nginx:stable from Debian's nginx package instead"
  make --no-print-directory image-nginx
  "$T" image load .cache/images/nginx.tar
fi

"$T" kubectl apply -f examples/nginx.yaml
"$T" kubectl wait --for=condition=Ready pod/nginx --timeout=120s
IP=$("$T" kubectl get pod nginx -o jsonpath='{.status.podIP}')
"$T" kubectl get pod nginx -o wide
echo
echo "http://$IP/ says:"
exec 3<>"/dev/tcp/$IP/80"
printf 'GET / HTTP/1.0\r\nHost: nginx\r\n\r\n' >&3
timeout 10 cat <&3 | grep -i -m1 '<title>' | sed 's/^ */  /'
echo
echo "Try: $T kubectl get all -A     $T status     $T down"
