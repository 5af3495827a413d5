#!/bin/sh
# Runs a command in a Debian tree, in a mount namespace of its own: nothing stays mounted
# afterwards, however the command ends, so removing the tree removes only the tree.
#   in-root.sh ROOT DIR PATH[:ro]... -- COMMAND...
#   IN_ROOT_SCRATCH=1   discards every change of the tree when the command ends
# Each PATH is bound at the same place; the command starts in DIR with this environment.
set -eu
if [ -z "${IN_ROOT_NAMESPACE:-}" ]; then
	IN_ROOT_NAMESPACE=1 exec unshare --mount --propagation private "$0" "$@"
fi
unset IN_ROOT_NAMESPACE
root=$1 dir=$2
shift 2
if [ -n "${IN_ROOT_SCRATCH:-}" ]; then
	layers=$root.layers
	mkdir -p "$layers"
	mount -t tmpfs tmpfs "$layers"
	mkdir "$layers/upper" "$layers/work" "$layers/root"
	mount -t overlay overlay -o "lowerdir=$root,upperdir=$layers/upper,workdir=$layers/work" "$layers/root"
	root=$layers/root
else
	mount --bind "$root" "$root" # a mount point, so that what follows is seen below it only
fi
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/tmp"
while [ "$1" != -- ]; do
	from=${1%:ro}
	mkdir -p "$root$from"
	mount --bind "$from" "$root$from"
	[ "$from" = "$1" ] || mount -o remount,bind,ro "$root$from"
	shift
done
shift
exec chroot "$root" sh -c 'cd "$0" && exec "$@"' "$dir" "$@"
