#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# The guest's first process. Loads the modules, puts a memory file system over the host's own
# tree, which comes read-only over 9p, and starts the agent there with the host's Python.
PATH=/bin
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
for module in /modules/*; do
    [ -f "$module" ] && insmod "$module"
done

# The host's files don't change while the guest runs, but for those in the shared folder.
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,ro,cache=loose root /lower
mount -t tmpfs tmpfs /upper
mkdir /upper/data /upper/work
mount -t overlay -o lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work root /new

mount --move /dev /new/dev
mount -t proc proc /new/proc
mount -t sysfs sys /new/sys
mount -t tmpfs run /new/run
mkdir -p /new/dev/shm /new/dev/pts
mount -t tmpfs shm /new/dev/shm
mount -t devpts pts /new/dev/pts
# $share, $python and $agent come from the kernel's command line.
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=none share "/new$share"
exec switch_root /new "$python" "$agent"
