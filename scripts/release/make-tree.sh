#!/bin/sh
# Makes a Debian tree with packages, from the archive and with the settings of this
# machine's apt and pip.
#   make-tree.sh DIR SUITE PACKAGE...        PIP_REQUIREMENTS: lines for pip, in /opt/zig
set -eu
dir=$1 suite=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
mirror=$(awk '/^URIs:/ {print $2; exit}' /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list.d/*.sources 2>/dev/null || true)
[ -n "$mirror" ] || mirror=$(awk '$1 == "deb" {for (i = 2; i <= NF; i++) if ($i ~ /^https?:/) {print $i; exit}}' /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null || true)
rm -rf --one-file-system "$dir"
debootstrap --variant=minbase --include=ca-certificates "$suite" "$dir" ${mirror:+"$mirror"}
cp /etc/apt/apt.conf.d/* "$dir/etc/apt/apt.conf.d/" 2>/dev/null || true
for f in /etc/resolv.conf /etc/hosts /etc/pip.conf; do [ ! -e $f ] || cp -L $f "$dir$f"; done
cp -aL /etc/ssl/certs/. "$dir/etc/ssl/certs/" 2>/dev/null || true
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
if [ $# -gt 0 ]; then
	cd /
	"$here/in-root.sh" "$dir" / -- sh -c 'apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@" && apt-get clean' sh "$@"
fi
# A folder with only the static C++ library. DuckDB's module links -lstdc++ by name, so
# -static-libstdc++ has no effect on it, but a folder that is searched first does.
for triple in x86_64-linux-gnu aarch64-linux-gnu; do
	[ -e "$dir/usr/bin/$triple-g++" ] || continue
	mkdir -p "$dir/opt/static/$triple"
	(cd / && "$here/in-root.sh" "$dir" / -- sh -c 'ln -s "$($1-g++ -print-file-name=libstdc++.a)" "/opt/static/$1/"' sh "$triple")
done
# Programs for arm64 start here with QEMU, and find their libraries where an arm64 Debian has them.
if [ -d "$dir/usr/aarch64-linux-gnu/lib" ]; then
	ln -s /usr/aarch64-linux-gnu/lib/ld-linux-aarch64.so.1 "$dir/usr/lib/"
	mkdir -p "$dir/usr/lib/aarch64-linux-gnu"
	for lib in "$dir"/usr/aarch64-linux-gnu/lib/*.so.*; do
		ln -s "/usr/aarch64-linux-gnu/lib/${lib##*/}" "$dir/usr/lib/aarch64-linux-gnu/"
	done
fi
if [ -n "${PIP_REQUIREMENTS:-}" ]; then
	cd /
	printf '%s\n' "$PIP_REQUIREMENTS" >"$dir/opt/requirements.txt"
	"$here/in-root.sh" "$dir" / -- python3 -m pip install -q --root-user-action=ignore --only-binary :all: --target /opt/zig -r /opt/requirements.txt
fi
