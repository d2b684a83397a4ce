#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Unpacks QEMU under build/qemu, beside whatever the system has; build/qemu/bin/qemu-system-x86_64
# starts it. Nothing is installed, APT's own sources and lists stay as they are, and no privilege
# is needed. On Debian 12 it comes from the backports: 7.2 has no igb.
#   tools/qemu.sh
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022 # a QEMU that root starts runs as another user, who must be able to read it

here=$PWD/build/qemu
rm -rf "$here" # a half one, or one whose system has changed
mkdir -p "$here"/{lists/partial,debs/partial}
release=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
from=()

if [[ -e /etc/apt/sources.list ]]; then cp /etc/apt/sources.list "$here/sources.list"; fi
if [[ $release == bookworm ]]; then # from the mirror that Debian itself comes from
    mirror=$(apt-get indextargets --format '$(SITE) $(CODENAME)' 'Created-By: Packages' |
        awk '$2 == "bookworm" {print $1; exit}')
    echo "deb ${mirror:-http://deb.debian.org/debian} bookworm-backports main" >>"$here/sources.list"
    from=(-t bookworm-backports)
fi
touch "$here/sources.list"
cp /var/lib/dpkg/status "$here/status" # what is installed need not be unpacked

apt=(apt-get -q -y
    -o Dir::Etc::SourceList="$here/sources.list"
    -o Dir::State="$here" -o Dir::State::lists="$here/lists" -o Dir::State::status="$here/status"
    -o Dir::Cache="$here" -o Dir::Cache::archives="$here/debs"
    -o Debug::NoLocking=1 -o APT::Sandbox::User=root -o APT::Get::Show-Versions=0
    -o Acquire::Languages=none)
"${apt[@]}" update
"${apt[@]}" install --download-only --no-install-recommends "${from[@]}" qemu-system-x86 </dev/null
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
