# SPDX-License-Identifier: GPL-2.0
"""The IPVS control interface over socket options, as include/uapi/linux/ip_vs.h has it."""

import ctypes
import os
import socket
import struct

BASE = 64 + 1024 + 64
# In the order of the header: an option's number is BASE plus its place.
SET = ("NONE", "INSERT", "ADD", "EDIT", "DEL", "FLUSH", "LIST", "ADDDEST", "DELDEST", "EDITDEST",
       "TIMEOUT", "STARTDAEMON", "STOPDAEMON", "RESTORE", "SAVE", "ZERO")
GET = ("VERSION", "INFO", "SERVICES", "SERVICE", "DESTS", "DEST", "TIMEOUT", "DAEMON")
# Of these there are only the names.
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
    """A socket in the network namespace that its maker is in. `used` has the options that were used."""

    def __init__(self):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self.used = set()

    def set(self, option, data=b""):
        """Raises OSError if the kernel refuses it."""
        self.used.add("IP_VS_SO_SET_" + option)
        self.sock.setsockopt(socket.IPPROTO_IP, BASE + SET.index(option), data)

    def get(self, option, data, size=None):
        """What the kernel made of a buffer of this size that begins with `data`."""
        self.used.add("IP_VS_SO_GET_" + option)
        return self.get_raw(BASE + GET.index(option), data, size)

    def get_raw(self, number, data, size=None, room=None):
        """The same for any option's number; with `room`, the buffer has not the size that we say."""
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
        """The first `count` servers of the service that `which`, as service() makes it, names."""
        protocol, addr, port, fwmark = SERVICE.unpack(which)[:4]
        size = GET_DESTS.size + count * DEST_ENTRY.size
        data = self.get("DESTS", GET_DESTS.pack(protocol, addr, port, fwmark, count), size)
        return [*map(self.entry, DEST_ENTRY.iter_unpack(data[GET_DESTS.size:]))]

    def service(self, which):
        """One service."""
        return self.entry(SERVICE_ENTRY.unpack(self.get("SERVICE", which, SERVICE_ENTRY.size)))

    @staticmethod
    def entry(values):
        """Strings without what is behind their end."""
        return tuple(value.split(b"\0")[0].decode() if isinstance(value, bytes) and len(value) == 16
                     else value for value in values)
