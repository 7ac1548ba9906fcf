# SPDX-License-Identifier: GPL-2.0
"""The IPVS control interface by setsockopt(2): a command is one system call of the calling thread. So it is fast, and
fault injection can be limited to one command."""

import errno
import socket
import struct

BASE = 64 + 1024 + 64
ADD, EDIT, DELETE, FLUSH = BASE + 2, BASE + 3, BASE + 4, BASE + 5
ADD_SERVER, DELETE_SERVER, EDIT_SERVER = BASE + 7, BASE + 8, BASE + 9
ONE_PACKET = 4
MASQUERADE, DIRECT = 0, 3


class Ipvs:
    """The services, each for a firewall mark, of the network namespace in which this was made."""

    def __init__(self):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)

    @staticmethod
    def service(mark, scheduler="", flags=0):
        return struct.pack("=H2x4sH2xI16sII4s", socket.IPPROTO_TCP, b"", 0, mark, scheduler.encode(), flags, 0,
                           b"\xff" * 4)

    @staticmethod
    def server(address, port=0, weight=0, how=DIRECT):
        return struct.pack("=4sH2xIiII", socket.inet_aton(address), socket.htons(port), how, weight, 0, 0)

    def call(self, command, argument=b""):
        self.sock.setsockopt(socket.IPPROTO_IP, command, argument)

    def add(self, mark, scheduler, flags=ONE_PACKET):
        self.call(ADD, self.service(mark, scheduler, flags))

    def edit(self, mark, scheduler, flags=ONE_PACKET):
        self.call(EDIT, self.service(mark, scheduler, flags))

    def delete(self, mark):
        self.call(DELETE, self.service(mark))

    def flush(self):
        self.call(FLUSH)

    def add_server(self, mark, *server):
        self.call(ADD_SERVER, self.service(mark) + self.server(*server))

    def edit_server(self, mark, *server):
        self.call(EDIT_SERVER, self.service(mark) + self.server(*server))

    def delete_server(self, mark, address, port=0):
        self.call(DELETE_SERVER, self.service(mark) + self.server(address, port))


def allowed(errors, function, *arguments):
    """Calls the function; returns False if it fails with one of these errors, otherwise True."""
    try:
        function(*arguments)
    except OSError as error:
        if error.errno not in errors:
            raise
        return False
    return True


GONE = (errno.ENOENT, errno.ESRCH)
