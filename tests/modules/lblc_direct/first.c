// SPDX-License-Identifier: GPL-2.0
/*
 * The order of the servers for a key as docs/directors.md defines it, from nothing but that page: the
 * kernel's own SipHash, and a logarithm that is computed bit by bit.
 */

#include <linux/math64.h>
#include <linux/siphash.h>
#include "lblc_direct.h"

/* The 16 bytes of an address. */
static void address(u8 *to, u16 af, const union nf_inet_addr *from)
{
	if (af == AF_INET6)
		memcpy(to, &from->in6, 16);
	else
		ipv6_addr_set_v4mapped(from->ip, (struct in6_addr *)to);
}

u64 hash_key(const struct trace *trace, const union nf_inet_addr *key)
{
	siphash_key_t seed = { { trace->hash_seed, 0 } };
	u8 bytes[16] __aligned(8);

	address(bytes, trace->af, key);
	return siphash(bytes, sizeof(bytes), &seed);
}

static u64 hash_server(const struct ip_vs_dest *dest)
{
	siphash_key_t none = {};
	u8 bytes[18] __aligned(8);

	address(bytes, dest->af, &dest->addr);
	memcpy(bytes + 16, &dest->port, 2);
	return siphash(bytes, sizeof(bytes), &none);
}

/* 2^24 * (1 - log2(1 + i / 32)), rounded: a bit of the logarithm for each time that the number is squared. */
static u64 table(u32 i)
{
	u64 x = (32ULL + i) << 57, log = 0;
	int bit;

	if (i == 32)
		return 0;
	for (bit = 0; bit < 40; bit++) {
		x = mul_u64_u64_shr(x, x, 62);
		log = 2 * log + (x >> 63);
		x >>= x >> 63;
	}
	return ((1ULL << 40) - log + (1 << 15)) >> 16;
}

/* -log2() in units of 2^-24. */
static u64 logarithm(u64 key, u64 server)
{
	static u64 lines[33];
	u64 x = key ^ server;
	u32 zeros, line;
	u64 rest, slope;

	if (!lines[0])
		for (line = 0; line <= 32; line++)
			lines[line] = table(line);
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	x = (x ^ (x >> 31)) | 1;
	zeros = 64 - fls64(x);
	rest = zeros == 63 ? 0 : x << (zeros + 1);
	line = rest >> 59;
	slope = lines[line] - lines[line + 1];
	return ((u64)zeros << 24) + lines[line] - ((slope * ((rest >> 27) & U32_MAX)) >> 32);
}

/* Whether `dest` comes before `other` for a key. */
bool is_first(u64 key, const struct ip_vs_dest *dest, const struct ip_vs_dest *other)
{
	u64 here = logarithm(key, hash_server(dest)) * atomic_read(&other->weight);
	u64 there = logarithm(key, hash_server(other)) * atomic_read(&dest->weight);
	u8 one[16], two[16];
	int order;

	if (here != there)
		return here < there;
	address(one, dest->af, &dest->addr);
	address(two, other->af, &other->addr);
	order = memcmp(one, two, sizeof(one));
	return order ? order < 0 : ntohs(dest->port) < ntohs(other->port);
}
