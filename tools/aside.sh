# SPDX-License-Identifier: Apache-2.0
# Sourced. An APT beside the system's, in a folder: it installs nothing, leaves the system's sources
# and lists as they are, and needs no privilege.
#   apt_aside FOLDER SUITE   sets `aside`, options of apt-get and apt-cache, and `from`, more of them
#                            to take packages from that suite of Debian's; "": from the system's own

release=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")

apt_aside() {
    local here=$1 suite=$2 mirror
    mkdir -p "$here"/{lists/partial,debs/partial}
    if [[ -e /etc/apt/sources.list ]]; then cp /etc/apt/sources.list "$here/sources.list"; fi
    from=()
    if [[ $suite ]]; then # from the mirror that Debian itself comes from
        mirror=$(apt-get indextargets --format '$(SITE) $(CODENAME)' 'Created-By: Packages' |
            awk -v own="$release" '$2 == own {print $1; exit}')
        echo "deb ${mirror:-http://deb.debian.org/debian} $suite main" >>"$here/sources.list"
        from=(-o APT::Default-Release="$suite")
    fi
    touch "$here/sources.list"
    cp /var/lib/dpkg/status "$here/status" # what is installed need not be unpacked
    aside=(-q
        -o Dir::Etc::SourceList="$here/sources.list"
        -o Dir::State="$here" -o Dir::State::lists="$here/lists" -o Dir::State::status="$here/status"
        -o Dir::Cache="$here" -o Dir::Cache::archives="$here/debs"
        -o Debug::NoLocking=1 -o APT::Sandbox::User=root -o APT::Get::Show-Versions=0
        -o Acquire::Languages=none)
}
