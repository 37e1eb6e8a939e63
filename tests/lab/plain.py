"""What an ordinary socket sees, in one word: ``ok``, ``timeout``, ``reset``, ``closed``, ``silent``, or an
errno (``ECONNREFUSED``).

::

    python plain.py tcp 203.0.113.2 5001 udp 203.0.113.2 5001      one line for each

TCP connects and sends a few bytes: ``ok`` is their echo, ``silent`` a connection on which nothing came.
UDP is connected, without IP_RECVERR, three datagrams.
Shows that a lab is what it says, before anybody's diagnosis is blamed.
"""

import errno
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

WAIT_S = 1.5
PAYLOAD = b"is anybody there?\n"
REPLY_S = 1.0


def tcp(address: str, port: int, talk: bool = True) -> str:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as sock:
        sock.settimeout(WAIT_S)
        try:
            sock.connect((address, port))
        except OSError as error:
            return _word(error)
        if not talk:
            return "ok"
        sock.settimeout(REPLY_S)
        try:
            sock.sendall(PAYLOAD)
            return "ok" if sock.recv(100) else "closed"
        except TimeoutError:
            return "silent"
        except OSError as error:
            return _word(error)


def udp(address: str, port: int) -> str:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(REPLY_S / 2)
        word = "timeout"
        for _ in range(3):
            try:
                sock.connect((address, port))
                sock.send(PAYLOAD)
                sock.recv(100)
            except OSError as error:
                word = _word(error)
                if word != "timeout":
                    return word
            else:
                return "ok"
        return word


def icmp(address: str) -> str:
    """By the system's program."""
    command = ["ping", "-n", "-c3", "-i0.2", "-W1", "-q", address]
    return "ok" if subprocess.run(command, capture_output=True, check=False).returncode == 0 else "timeout"


def _word(error: OSError) -> str:
    if isinstance(error, TimeoutError) and error.errno is None:
        return "timeout"
    if error.errno == errno.ECONNRESET:
        return "reset"
    return errno.errorcode.get(error.errno or 0, "unknown")


def look(transport: str, address: str, port: int) -> str:
    if transport == "icmp":
        return icmp(address)
    return udp(address, port) if transport == "udp" else tcp(address, port, talk=transport == "tcp")


def main(words: list[str]) -> None:
    asked = [(words[i], words[i + 1], int(words[i + 2])) for i in range(0, len(words), 3)]
    with ThreadPoolExecutor(len(asked)) as pool:
        for word in pool.map(lambda one: look(*one), asked):
            print(word)


if __name__ == "__main__":
    main(sys.argv[1:])
