// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

// Looks names up as Prometheus does, with Go's own resolver: `a NAME`, `4 NAME`
// and `6 NAME` for addresses, `srv NAME`. Prints them sorted, or why not.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sort"
)

func lookup(what, name string) (found []string, err error) {
	resolver, context := net.Resolver{PreferGo: true}, context.Background()
	if what == "srv" {
		_, targets, err := resolver.LookupSRV(context, "", "", name)
		for _, srv := range targets {
			found = append(found, fmt.Sprintf("%s:%d", srv.Target, srv.Port))
		}
		return found, err
	}
	network := map[string]string{"a": "ip", "4": "ip4", "6": "ip6"}[what]
	addresses, err := resolver.LookupIP(context, network, name)
	for _, address := range addresses {
		found = append(found, address.String())
	}
	return found, err
}

func main() {
	found, err := lookup(os.Args[1], os.Args[2])
	var fault *net.DNSError
	if errors.As(err, &fault) && fault.IsNotFound {
		fmt.Println("not found")
		return
	} else if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	sort.Strings(found)
	for _, line := range found {
		fmt.Println(line)
	}
}
