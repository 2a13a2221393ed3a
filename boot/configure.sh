#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public
# License, v. 2.0. If a copy of the MPL was not distributed with this
# file, You can obtain one at https://mozilla.org/MPL/2.0/.

# At every boot, by the user-script, after setup.sh if that runs too: starts
# the agent, which does the rest. No command waits for it: it may need longer
# than the user-script has.

export PS4='[\D{%FT%TZ}] ${BASH_SOURCE}:${LINENO}: '
set -o errexit -o nounset -o pipefail -o xtrace

# The user-script runs setup.sh once, even if that was cut off: this finishes
# it, and finds nothing to do otherwise. It fails no boot after that.
/opt/triton/config-agent/bin/config-agent setup

if [[ $(uname -s) == Linux ]]; then
    systemctl enable config-agent.service
    systemctl start --no-block config-agent.service
else
    svcadm enable svc:/triton/application/config-agent:default
fi
