#!/usr/bin/env bash
# Checks that the programs for building and testing are installed and, as root on Debian or
# Ubuntu, installs missing ones. It starts no service and does not change installed packages.
#
#   setup.sh [build]     build: only the programs without which nothing can be built
set -euo pipefail
only=${1:-}

# One line per program: the command or path that must exist, the Debian package that has it,
# and its use. Without the programs for "build" nothing works. If another program is missing,
# the tests that use it skip and say "needs NAME".
programs='
gcc                  gcc                      build
g++                  g++                      build
tshark               tshark                   a judge of packets
capinfos             wireshark-common         a judge of packets
groff                groff-base               a judge of the manual page
tcpdump              tcpdump                  a judge of packets and of filters
ip                   iproute2                 networks of the tests
ss                   iproute2                 waiting for a server
nft                  nftables                 packets that the firewall drops
nsenter              util-linux               networks of the tests
setpriv              util-linux               a process with fewer rights
sysctl               procps                   settings of a network
openssl              openssl                  a TLS peer
curl                 curl                     a TLS peer
nginx                nginx-light              a TLS peer
gnutls-serv          gnutls-bin               a TLS peer
keytool              default-jre-headless     a TLS peer in Java
node                 nodejs                   a TLS peer, and DuckDB from JavaScript
npm                  npm                      packages of MCP and DuckDB for JavaScript
/usr/bin/python3     python3                  a TLS peer, and a judge of ZIP files
pdftotext            poppler-utils            a judge of PDF files
yara                 yara                     rules for files
softhsm2-util        softhsm2                 a token that holds keys
unzip                unzip                    a judge of ZIP files
chromium-headless-shell  chromium-headless-shell  the page of a report in a browser
qemu-system-x86_64   qemu-system-x86          other kernels
qemu-aarch64-static  qemu-user-static         the recorder for arm64
xz                   xz-utils                 other kernels
cpio                 cpio                     other kernels
'

if ! command -v go >/dev/null; then
	echo "setup: Go 1.26 or newer is missing; hint: https://go.dev/dl" >&2
	exit 1
fi

there() {
	case $1 in
	chromium-headless-shell) command -v chromium || command -v chromium-browser || command -v google-chrome || command -v "$1" ;;
	*) command -v "$1" ;;
	esac >/dev/null
}
missing=() packages=() build=""
while read -r program package use; do
	[ -n "$program" ] || continue
	[ -z "$only" ] || [ "$use" = "$only" ] || continue
	there "$program" && continue
	missing+=("$program")
	[[ " ${packages[*]} " == *" $package "* ]] || packages+=("$package")
	[ "$use" = build ] && build="$build $program"
done <<<"$programs"
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	[ "$(id -u)" = 0 ] && why="this is not Debian or Ubuntu" || why="only root may install packages"
	{
		echo "setup: ${#missing[@]} of the programs that building and testing use are missing, and $why."
		echo "  missing:  ${missing[*]}"
		echo "  hint:     sudo apt-get install --no-install-recommends ${packages[*]}"
		if [ -n "$build" ]; then
			echo "  Nothing can be built without:$build"
			exit 1
		fi
		echo "  make demo works without them. Tests that use one of them skip and say: needs NAME."
	} >&2
	exit 0
fi

echo "setup: installing ${packages[*]}"
export DEBIAN_FRONTEND=noninteractive
# A service in a package must not start: a web server would occupy a port that others need.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod +x $policy
	trap 'rm -f $policy' EXIT
fi
log=$(mktemp)
apt() {
	if ! apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" >"$log" 2>&1; then
		tail -n 20 "$log" >&2
		echo "setup: apt-get $1 failed" >&2
		exit 1
	fi
}
apt -o Acquire::Languages=none update
# If a test machine loses power, setup runs again, so dpkg need not wait for its disk.
apt -o Dpkg::Options::=--force-unsafe-io install --no-install-recommends "${packages[@]}"
rm -f "$log"
[[ " ${packages[*]} " != *" nginx-light "* ]] || systemctl disable --quiet nginx >/dev/null 2>&1 || true
for program in "${missing[@]}"; do
	there "$program" || { echo "setup: $program is still missing" >&2; exit 1; }
done
