#!/usr/bin/env bash
# Judges reports of every template with programs of others: scripts/report-peers.sh [CAPTURE]
#
# veraPDF (Maven Central) judges PDF/A-3a and PDF/UA-1; pypdf, markdown-it and Python's csv read what is in
# PDF, Markdown and CSV; LibreOffice and openpyxl the cells of workbooks; axe-core judges the pages in
# Chromium, and mermaid draws the diagrams of Markdown. It needs java, mvn, soffice, node, npm,
# chromium-headless-shell, and python3 with openpyxl, pypdf and markdown-it-py. It is not part of
# make test: the programs have 700 MB.
set -euo pipefail
cd "$(dirname "$0")/.."
capture=${1:-samples/shop.pcapng}
peers=$PWD/scripts/report-peers
verapdf=org.verapdf.apps:greenfield-apps:1.28.2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

go build -o "$dir/pcapsule" ./cmd/pcapsule
kube=()
[ -e "${capture%.*}.kube.json" ] && kube=(--kube "${capture%.*}.kube.json")
"$dir/pcapsule" bundle "$capture" "${kube[@]}" -o "$dir/b.pcapsule"
templates=$(ls report/templates/*.yaml | xargs -n 1 basename -s .yaml)
for t in $templates; do
	for form in html md pdf xlsx csv json; do
		"$dir/pcapsule" report "$dir/b.pcapsule" --template "$t" -o "$dir/$t.$form"
	done
done

bad=0
mkdir "$dir/java"
IFS=: read -r group artifact version <<<"$verapdf"
cat >"$dir/java/pom.xml" <<EOF
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>x</groupId><artifactId>x</artifactId><version>1</version>
<dependencies><dependency><groupId>$group</groupId><artifactId>$artifact</artifactId><version>$version</version></dependency></dependencies></project>
EOF
(cd "$dir/java" && mvn -q -B dependency:copy-dependencies -DoutputDirectory=lib)
for rules in 3a ua1; do
	java -cp "$dir/java/lib/*" org.verapdf.apps.GreenfieldCliWrapper -f $rules --format text -v "$dir"/*.pdf || bad=1
done

for t in $templates; do
	python3 "$peers/forms.py" "$dir/$t" || bad=1
	soffice --headless "-env:UserInstallation=file://$dir/office" --convert-to 'csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,true,false,false,false,-1' \
		--outdir "$dir/csv/$t" "$dir/$t.xlsx" >/dev/null
	python3 "$peers/cells.py" "$dir/$t.xlsx" "$dir/csv/$t" || bad=1
done

(cd "$dir" && npm install --silent --no-audit --no-fund axe-core@4 mermaid@11)
node "$peers/browser.mjs" "$dir" "$dir"/*.html "$dir"/*.md || bad=1
exit $bad
