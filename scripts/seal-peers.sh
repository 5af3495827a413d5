#!/usr/bin/env bash
# Judges seals and handed-over bundles with programs of others: scripts/seal-peers.sh [CAPTURE]
#
# sigstore's timestamp-authority, built from its Go module, stamps a seal, and OpenSSL checks the stamp.
# case_validate (PyPI: case-utils) checks the cover sheet's CASE/UCO description. securesystemslib verifies the
# envelope, in-toto-attestation its statement, jsonschema its acquisition record, and bagit the files. It needs go,
# openssl, curl and python3 with venv. It is not part of make test: the programs have 300 MB.
set -euo pipefail
cd "$(dirname "$0")/.."
capture=${1:-samples/shop.pcapng}
authority=github.com/sigstore/timestamp-authority/cmd/timestamp-server@v1.2.9 # the last one for Go 1.26
dir=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$dir"' EXIT

go build -o "$dir/pcapsule" ./cmd/pcapsule
GOFLAGS='' GOBIN="$dir" go install "$authority"
cd "$dir"
./pcapsule bundle "$OLDPWD/$capture" -o b.pcapsule
openssl genpkey -algorithm ed25519 -out examiner.pem
chmod 600 examiner.pem
openssl pkey -in examiner.pem -pubout -out examiner.pub
./pcapsule seal b.pcapsule --key examiner.pem --name "E. Examiner"

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
./timestamp-server serve --host 127.0.0.1 --port "$port" --timestamp-signer memory --disable-ntp-monitoring >server.log 2>&1 &
server=$!
url=http://127.0.0.1:$port/api/v1/timestamp
curl -sf --retry 30 --retry-delay 1 --retry-connrefused "$url/certchain" -o chain.pem || { cat server.log; exit 1; }
./pcapsule timestamp b.pcapsule --url "$url"
kill "$server" && wait "$server" || true
server=

./pcapsule verify b.pcapsule --signer examiner.pub --authority chain.pem
openssl ts -verify -data b.pcapsule/custody/seal-000.dsse.json -in b.pcapsule/custody/seal-000.tsr -CAfile chain.pem

./pcapsule handover b.pcapsule --to "A. Auditor"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check case-utils==0.18.0 'securesystemslib[crypto]==1.6.0' in-toto-attestation==0.9.3 jsonschema==4.26.0 bagit==1.9.0
venv/bin/python "$OLDPWD/scripts/seal-peers.py" b.pcapsule examiner.pub "$OLDPWD/docs/format/acquisition.schema.json"
venv/bin/case_validate --built-version case-1.4.0 b.handover/cover.jsonld
