#!/usr/bin/env bash
# Judges seals and handed-over bundles with programs of others: scripts/seal-peers.sh [CAPTURE]
#
# sigstore's timestamp-authority, built from its Go module, stamps a seal, and OpenSSL checks the stamp.
# case_validate (PyPI: case-utils) checks the cover sheet's CASE/UCO description. securesystemslib verifies the
# envelope, in-toto-attestation its statement, jsonschema its acquisition record, and bagit the files. veraPDF (Maven
# Central) judges cover.pdf, of which pdfium and ZXing read the QR code. It needs go, openssl, curl, java, mvn and python3 with venv. It is not part of make test: the programs have 300 MB.
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
# OpenSSL makes a root and the signer's certificate.
openssl req -x509 -newkey rsa:2048 -nodes -keyout root.key -out root.pem -days 30 -subj "/CN=Root" 2>/dev/null
printf '[ca]\ndefault_ca=c\n[c]\ndatabase=index\nserial=serial\ncrlnumber=number\nnew_certs_dir=.\ncertificate=root.pem\nprivate_key=root.key\ndefault_md=sha256\ndefault_days=30\ndefault_crl_days=30\npolicy=p\n[p]\ncommonName=supplied\n' >ca.cnf
: >index && echo 01 >serial && echo 01 >number
openssl req -new -key examiner.pem -subj "/CN=E. Examiner" -out examiner.csr
openssl ca -batch -config ca.cnf -startdate 20200101000000Z -in examiner.csr -out examiner.crt 2>/dev/null
./pcapsule seal b.pcapsule --key examiner.pem --name "E. Examiner"

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
./timestamp-server serve --host 127.0.0.1 --port "$port" --timestamp-signer memory --disable-ntp-monitoring >server.log 2>&1 &
server=$!
url=http://127.0.0.1:$port/api/v1/timestamp
curl -sf --retry 30 --retry-delay 1 --retry-connrefused "$url/certchain" -o chain.pem || { cat server.log; exit 1; }
./pcapsule timestamp b.pcapsule --url "$url"
./pcapsule timestamp b.pcapsule --url "$url" --renew
kill "$server" && wait "$server" || true
server=

./pcapsule verify b.pcapsule --signer examiner.pub --authority chain.pem
openssl ts -verify -data b.pcapsule/custody/seal-000.dsse.json -in b.pcapsule/custody/seal-000.tsr -CAfile chain.pem
cat b.pcapsule/custody/seal-000.dsse.json b.pcapsule/custody/seal-000.tsr >renewed
openssl ts -verify -data renewed -in b.pcapsule/custody/seal-000.1.tsr -CAfile chain.pem

# OpenSSL and pcapsule agree on the certificate before and after it is revoked.
./pcapsule verify b.pcapsule --signer examiner.crt --root root.pem --authority chain.pem
sleep 1
openssl ca -config ca.cnf -gencrl -out good.crl
openssl verify -CAfile root.pem -CRLfile good.crl -crl_check examiner.crt
./pcapsule verify b.pcapsule --signer examiner.crt --root root.pem --crl good.crl
openssl ca -config ca.cnf -revoke examiner.crt 2>/dev/null
openssl ca -config ca.cnf -gencrl -out bad.crl
! openssl verify -CAfile root.pem -CRLfile bad.crl -crl_check examiner.crt
# It was revoked after the seal, so the seal still counts, and the line says so.
./pcapsule verify b.pcapsule --signer examiner.crt --root root.pem --crl bad.crl --authority chain.pem | grep "and was revoked later"

./pcapsule handover b.pcapsule --to "A. Auditor"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check case-utils==0.18.0 'securesystemslib[crypto]==1.6.0' in-toto-attestation==0.9.3 jsonschema==4.26.0 bagit==1.9.0 zxing-cpp==3.1.1 pypdfium2==5.15.2 numpy pillow==13.0.0
venv/bin/python "$OLDPWD/scripts/seal-peers.py" b.pcapsule examiner.pub "$OLDPWD/docs/format/acquisition.schema.json"
venv/bin/case_validate --built-version case-1.4.0 b.handover/cover.jsonld
# A reader of QR codes reads the fingerprint from the printed page.
venv/bin/python - b.handover/cover.pdf <<'EOF' | grep "sha256:$(sha256sum b.pcapsule/tagmanifest-sha256.txt | cut -d' ' -f1)$"
import sys, numpy, pypdfium2, zxingcpp
for page in pypdfium2.PdfDocument(sys.argv[1]):
    for code in zxingcpp.read_barcodes(numpy.array(page.render(scale=3).to_pil().convert("L"))):
        print(code.format, code.text)
EOF

# The cover sheet is PDF/A-3a and PDF/UA-1.
mkdir java
cat >java/pom.xml <<EOF
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>x</groupId><artifactId>x</artifactId><version>1</version>
<dependencies><dependency><groupId>org.verapdf.apps</groupId><artifactId>greenfield-apps</artifactId><version>1.28.2</version></dependency></dependencies></project>
EOF
(cd java && mvn -q -B dependency:copy-dependencies -DoutputDirectory=lib)
for rules in 3a ua1; do
	java -cp "java/lib/*" org.verapdf.apps.GreenfieldCliWrapper -f $rules --format text b.handover/cover.pdf | grep ^PASS
done
