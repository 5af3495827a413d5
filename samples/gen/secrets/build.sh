#!/bin/sh
# Builds the generator into the file given. crypto/tls writes no secret of early data into
# its key log, so it is built with one line more that does.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
src=$(go env GOROOT)/src/crypto/tls/handshake_client.go
sed 's/^\(\t*\)c.quicSetWriteSecret(QUICEncryptionLevelEarly, .*$/\1c.config.writeKeyLog("CLIENT_EARLY_TRAFFIC_SECRET", hello.random, earlyTrafficSecret)\n&/' "$src" >"$work/handshake_client.go"
grep -q CLIENT_EARLY_TRAFFIC_SECRET "$work/handshake_client.go"
printf '{"Replace":{"%s":"%s"}}\n' "$src" "$work/handshake_client.go" >"$work/overlay.json"
go build -C "$here" -overlay "$work/overlay.json" -o "$1" .
