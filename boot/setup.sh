#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public
# License, v. 2.0. If a copy of the MPL was not distributed with this
# file, You can obtain one at https://mozilla.org/MPL/2.0/.

# Once per provision and reprovision, by the user-script: the zone root is
# new, /data may be old. Lives in /opt/smartdc/boot; its log is
# /var/svc/setup.log. What there is to do depends on state, so config-agent
# does it: see agent/src/setup/plan.rs, or config-agent setup --dry-run.

export PS4='[\D{%FT%TZ}] ${BASH_SOURCE}:${LINENO}: '
set -o errexit -o nounset -o pipefail -o xtrace

exec /opt/triton/config-agent/bin/config-agent setup
