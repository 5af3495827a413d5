#!/usr/bin/env bash
# Prints the folder for temporary files of tests. Tests make thousands of bundles, and every file of a bundle is
# synced: in memory that costs nothing, on a disk a third of the time. Memory must be plenty, and programs that
# tests build must run there.
set -euo pipefail
shm=/dev/shm/pcapsule-tests
gigabytes() { awk -v name="$1:" '$1 == name { print int($2 / 1048576) }' /proc/meminfo; }
runs() {
	mkdir -p "$shm" && cp /bin/true "$shm/true.$$" && "$shm/true.$$"
	local result=$?
	rm -f "$shm/true.$$"
	return $result
}
if [ "$(gigabytes MemAvailable)" -ge 10 ] && [ "$(df --output=avail -BG /dev/shm | tail -1 | tr -dc 0-9)" -ge 8 ] && runs 2>/dev/null; then
	echo "$shm"
else
	echo "${TMPDIR:-/tmp}"
fi
