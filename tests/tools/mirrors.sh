#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public
# License, v. 2.0. If a copy of the MPL was not distributed with this
# file, You can obtain one at https://mozilla.org/MPL/2.0/.

# Sourced by those beside it that need packages of component contrib, where
# OpenZFS lies.

# The mirrors of Debian itself, as apt on this machine has them.
# shellcheck disable=SC2016 # the $(...) are apt's own
sources() {
    apt-get indextargets --format '$(SITE) $(RELEASE)' \
        'Created-By: Packages' 'Origin: Debian' | sort --unique |
        while read -r site release; do
            echo "deb $site $release main contrib"
        done
}
