# SPDX-License-Identifier: GPL-2.0
"""ICMP errors that a client sends."""

import socket
import struct

from lab import inside


def icmp_error(inner_source, inner_destination, port):
    """An ICMP error from the client about a packet inner_source:port -> inner_destination."""
    def checksum(data):
        total = sum(struct.unpack(f"!{len(data) // 2}H", data))
        total = (total & 0xffff) + (total >> 16)
        return ~((total & 0xffff) + (total >> 16)) & 0xffff

    inner = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 48, 1, 0, 64, 17, 0,
                        socket.inet_aton(inner_source), socket.inet_aton(inner_destination))
    inner = inner[:10] + struct.pack("!H", checksum(inner)) + inner[12:]
    inner += struct.pack("!HHHH", port, 4000, 28, 0) + bytes(20)
    body = struct.pack("!BBHI", 3, 1, 0, 0) + inner
    body = body[:2] + struct.pack("!H", checksum(body)) + body[4:]
    with inside("client"):
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    with sock:
        sock.sendto(body, (inner_source, 0))
