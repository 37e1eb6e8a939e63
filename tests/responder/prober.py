"""Run as a program inside a namespace, by any Python: ``tcp`` or ``udp``, address, port, how many, and a word
in hex that is sent. Prints what came of each: ``ok``, ``silent``, or an errno's name; of UDP the source of
the answer. The environment sets the segment size (``MSS``), ``TOS`` and how long is waited (``WAIT``)."""

import errno
import os
import socket
import sys
import time

kind, address, port, count, word = sys.argv[1:6]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
mss = int(os.environ.get("MSS", "0"))
tos = int(os.environ.get("TOS", "0"))
wait = float(os.environ.get("WAIT", "0.3"))
data = bytes.fromhex(word)


def shot():
    stream = kind == "tcp"
    with socket.socket(family, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM) as sock:
        sock.settimeout(wait)
        if mss:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, mss)
        if tos:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
        try:
            if stream:
                sock.connect((address, int(port)))
            if not data:
                time.sleep(wait / 3)
                return "ok"
            if stream:
                sock.sendall(data)
            else:
                sock.sendto(data, (address, int(port)))
            _, source = sock.recvfrom(65535)
            return "ok" if stream else source[0]
        except TimeoutError:
            return "silent"
        except OSError as error:
            return errno.errorcode[error.errno]


for _ in range(int(count)):
    print(shot(), flush=True)
