#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public
# License, v. 2.0. If a copy of the MPL was not distributed with this
# file, You can obtain one at https://mozilla.org/MPL/2.0/.

# Once per provision and reprovision, by the user-script: the zone root is
# new, /data may be old. Whatever depends on state is config-agent's work.
# Lives in /opt/smartdc/boot; its log is /var/svc/setup.log.

export PS4='[\D{%FT%TZ}] ${BASH_SOURCE}:${LINENO}: '
set -o errexit -o nounset -o pipefail -o xtrace

brand=smartos zfs=zfs
if [[ $(uname -s) == Linux ]]; then
    brand=lx zfs=/native/usr/sbin/zfs
fi

# The delegate dataset: the only thing that outlives this root.
"$zfs" set mountpoint=/data "zones/$(mdata-get sdc:uuid)/data"
"$zfs" mount -a

# The agent and the role of this image have a folder each here and one below
# /data, root's own: config-agent makes what a daemon itself may write below it.
for home in /opt/triton/*; do
    mkdir -p "$home/etc" "/data/$(basename "$home")"
done
chmod 0700 /data/config-agent

# Triton names the key sapi-url, Manta SAPI_URL.
sapi_url=$(mdata-get sapi-url || mdata-get SAPI_URL)
cat >/opt/triton/config-agent/etc/config.json <<EOJ
{
    "logLevel": "info",
    "pollInterval": 60000,
    "sapi": { "url": "$sapi_url" }
}
EOJ

# Known to the system, not yet enabled. A folder may hold several daemons.
case $brand in
smartos) for file in /opt/triton/*/smf/*.xml; do svccfg import "$file"; done ;;
lx) for file in /opt/triton/*/smf/*.service; do systemctl link "$file"; done ;;
esac
