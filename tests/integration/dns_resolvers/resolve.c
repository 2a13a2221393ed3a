/*
 * This Source Code Form is subject to the terms of the Mozilla Public
 * License, v. 2.0. If a copy of the MPL was not distributed with this
 * file, You can obtain one at https://mozilla.org/MPL/2.0/.
 *
 * Looks names up with the C library: `a NAME`, `4 NAME` and `6 NAME` for
 * addresses, `srv NAME`. Prints them as they come, or why not.
 */
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>
#include <stdio.h>
#include <string.h>

static int srv(const char *name)
{
	unsigned char reply[65536];
	char target[NS_MAXDNAME];
	ns_msg message;
	ns_rr record;
	int len = res_search(name, ns_c_in, ns_t_srv, reply, sizeof (reply));

	if (len < 0 || ns_initparse(reply, len, &message) != 0) {
		puts("not found");
		return (0);
	}
	for (int n = 0; n < ns_msg_count(message, ns_s_an); n++) {
		if (ns_parserr(&message, ns_s_an, n, &record) != 0 ||
		    ns_rr_type(record) != ns_t_srv ||
		    ns_name_uncompress(ns_msg_base(message),
		    ns_msg_end(message), ns_rr_rdata(record) + 6, target,
		    sizeof (target)) < 0)
			return (1);
		printf("%s:%u\n", target, ns_get16(ns_rr_rdata(record) + 4));
	}
	return (0);
}

int main(int argc, char **argv)
{
	struct addrinfo hints, *found, *one;
	char text[INET6_ADDRSTRLEN];
	int fault;

	if (argc != 3)
		return (64);
	if (strcmp(argv[1], "srv") == 0)
		return (srv(argv[2]));
	memset(&hints, 0, sizeof (hints));
	hints.ai_socktype = SOCK_STREAM;
	hints.ai_family = argv[1][0] == '4' ? AF_INET :
	    argv[1][0] == '6' ? AF_INET6 : AF_UNSPEC;
	fault = getaddrinfo(argv[2], NULL, &hints, &found);
	if (fault == EAI_NONAME || fault == EAI_NODATA) {
		puts("not found");
		return (0);
	}
	if (fault != 0) {
		puts(gai_strerror(fault));
		return (1);
	}
	for (one = found; one != NULL; one = one->ai_next) {
		const void *address = one->ai_family == AF_INET ?
		    (void *)&((struct sockaddr_in *)one->ai_addr)->sin_addr :
		    (void *)&((struct sockaddr_in6 *)one->ai_addr)->sin6_addr;
		puts(inet_ntop(one->ai_family, address, text, sizeof (text)));
	}
	freeaddrinfo(found);
	return (0);
}
