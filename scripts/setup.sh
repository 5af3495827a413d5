#!/usr/bin/env bash
# Checks and, as root on Debian or Ubuntu, installs what building and testing need:
# a C compiler (DuckDB's library is C++), tshark and tcpdump as judges in tests.
set -euo pipefail
need=()
command -v gcc >/dev/null || need+=(gcc)
command -v g++ >/dev/null || need+=(g++)
command -v tshark >/dev/null || need+=(tshark)
command -v tcpdump >/dev/null || need+=(tcpdump)
command -v capinfos >/dev/null || need+=(wireshark-common)
if ! command -v go >/dev/null; then
	echo "setup: Go 1.26 or newer is needed" >&2
	exit 1
fi
[ ${#need[@]} -eq 0 ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	echo "setup: installing ${need[*]}"
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -qq >/dev/null
	apt-get install -y -qq --no-install-recommends "${need[@]}" >/dev/null
else
	echo "setup: please install: ${need[*]}" >&2
	for n in "${need[@]}"; do
		case $n in gcc | g++) exit 1 ;; esac
	done
fi
