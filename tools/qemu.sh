#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Unpacks QEMU under build/qemu, beside whatever the system has; build/qemu/bin/qemu-system-x86_64
# starts it. Nothing is installed, APT's own sources and lists stay as they are, and no privilege
# is needed. On Debian 12 it comes from the backports: 7.2 has no igb.
#   tools/qemu.sh
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022 # a QEMU that root starts runs as another user, who must be able to read it
. tools/aside.sh

here=$PWD/build/qemu
rm -rf "$here" # a half one, or one whose system has changed
suite=""
if [[ $release == bookworm ]]; then suite=bookworm-backports; fi
apt_aside "$here" "$suite"
apt-get -y "${aside[@]}" update
apt-get -y "${aside[@]}" "${from[@]}" install --download-only --no-install-recommends \
    qemu-system-x86 </dev/null
for deb in "$here"/debs/*.deb; do
    dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$here" --no-same-owner --exclude='./usr/share/doc'
done
rm -rf "$here"/{debs,lists,status,*.bin}

triplet=$(gcc -print-multiarch 2>/dev/null || echo "$(uname -m)-linux-gnu")
mkdir -p "$here/bin"
cat >"$here/bin/qemu-system-x86_64.new" <<END
#!/bin/sh
here=\$(dirname "\$0")/..
export LD_LIBRARY_PATH="\$here/usr/lib/$triplet:\$here/lib/$triplet"
export QEMU_MODULE_DIR="\$here/usr/lib/$triplet/qemu"
exec "\$here/usr/bin/qemu-system-x86_64" -L "\$here/usr/share/qemu" -L "\$here/usr/share/seabios" \\
    -L "\$here/usr/lib/ipxe/qemu" "\$@"
END
chmod 755 "$here/bin/qemu-system-x86_64.new"
"$here/bin/qemu-system-x86_64.new" -device e1000e,help >/dev/null
mv "$here/bin/qemu-system-x86_64.new" "$here/bin/qemu-system-x86_64"
