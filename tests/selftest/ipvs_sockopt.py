# SPDX-License-Identifier: GPL-2.0
"""The IPVS control interface over socket options, as in include/uapi/linux/ip_vs.h."""

import ctypes
import os
import socket
import struct

BASE = 64 + 1024 + 64
# In the order of the header: the number of an option is BASE plus its position.
SET = ("NONE", "INSERT", "ADD", "EDIT", "DEL", "FLUSH", "LIST", "ADDDEST", "DELDEST", "EDITDEST",
       "TIMEOUT", "STARTDAEMON", "STOPDAEMON", "RESTORE", "SAVE", "ZERO")
GET = ("VERSION", "INFO", "SERVICES", "SERVICE", "DESTS", "DEST", "TIMEOUT", "DAEMON")
# These are defined, but not implemented.
EMPTY = ("NONE", "INSERT", "LIST", "RESTORE", "SAVE")

STATS = struct.Struct("3I4x2Q5I4x")
SERVICE = struct.Struct("=H2x4s2s2xI16sII4s")
DEST = struct.Struct("=4s2s2xIiII")
TIMEOUT = struct.Struct("3i")
DAEMON = struct.Struct("i16si")
INFO = struct.Struct("3I")
SERVICE_ENTRY = struct.Struct("=H2x4s2s2xI16sII4sI" + "3I4x2Q5I4x")
DEST_ENTRY = struct.Struct("=4s2s2xIi5I4x" + "3I4x2Q5I4x")
GET_SERVICES = struct.Struct("=I4x")
GET_DESTS = struct.Struct("=H2x4s2s2xII4x")
VERSION_SIZE = 64

libc = ctypes.CDLL(None, use_errno=True)


def service(protocol=0, addr="0.0.0.0", port=0, fwmark=0, scheduler="", flags=0, timeout=0,
            netmask="0.0.0.0"):
    """A struct ip_vs_service_user."""
    return SERVICE.pack(protocol, socket.inet_aton(addr), struct.pack("!H", port), fwmark,
                        scheduler.encode(), flags, timeout, socket.inet_aton(netmask))


def dest(addr, port=0, flags=0, weight=1, upper=0, lower=0):
    """A struct ip_vs_dest_user."""
    return DEST.pack(socket.inet_aton(addr), struct.pack("!H", port), flags, weight, upper, lower)


def daemon(state, interface="", syncid=0):
    """A struct ip_vs_daemon_user."""
    return DAEMON.pack(state, interface.encode(), syncid)


class Sockopt:
    """A socket in the network namespace of the thread that makes it. `used` is the set of options used."""

    def __init__(self):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self.used = set()

    def set(self, option, data=b""):
        """Sets an option, or raises OSError."""
        self.used.add("IP_VS_SO_SET_" + option)
        self.sock.setsockopt(socket.IPPROTO_IP, BASE + SET.index(option), data)

    def get(self, option, data, size=None):
        """Gets an option with a buffer of `size` bytes that begins with `data`; returns it, or raises OSError."""
        self.used.add("IP_VS_SO_GET_" + option)
        return self.get_raw(BASE + GET.index(option), data, size)

    def get_raw(self, number, data, size=None, room=None):
        """As get(), for any number; with `room`, the buffer has that size, and not the one passed to the kernel."""
        size = len(data) if size is None else size
        buffer = ctypes.create_string_buffer(data, room or max(size, 1))
        length = ctypes.c_int(size)
        if libc.getsockopt(self.sock.fileno(), socket.IPPROTO_IP, number, buffer, ctypes.byref(length)):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return buffer.raw[:length.value]

    def services(self, count):
        """The first `count` services."""
        size = GET_SERVICES.size + count * SERVICE_ENTRY.size
        data = self.get("SERVICES", GET_SERVICES.pack(count), size)[GET_SERVICES.size:]
        return [*map(self.entry, SERVICE_ENTRY.iter_unpack(data))]

    def dests(self, which, count):
        """The first `count` servers of the service `which`, as made by service()."""
        protocol, addr, port, fwmark = SERVICE.unpack(which)[:4]
        size = GET_DESTS.size + count * DEST_ENTRY.size
        data = self.get("DESTS", GET_DESTS.pack(protocol, addr, port, fwmark, count), size)
        return [*map(self.entry, DEST_ENTRY.iter_unpack(data[GET_DESTS.size:]))]

    def service(self, which):
        """One service."""
        return self.entry(SERVICE_ENTRY.unpack(self.get("SERVICE", which, SERVICE_ENTRY.size)))

    @staticmethod
    def entry(values):
        """The values, with strings cut at their first null byte."""
        return tuple(value.split(b"\0")[0].decode() if isinstance(value, bytes) and len(value) == 16
                     else value for value in values)
