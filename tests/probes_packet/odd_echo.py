"""Run as a program inside a namespace whose kernel answers no echo: answers by the address that was asked.

``*.11``: from another address; ``*.12``: twice; ``*.13``: the first one late by half a second;
``*.14``: every one so; else as it should be."""

import socket
import struct
import sys
import threading

OTHER = sys.argv[1]


def checksum(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def answer(packet: bytes, to: str, source: str) -> None:
    echo = b"\0\0\0\0" + packet[4:]
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as out:
        out.bind((source, 0))
        out.sendto(echo[:2] + struct.pack("!H", checksum(echo)) + echo[4:], (to, 0))


heard = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
late = False
print("ready", flush=True)
while True:
    data, (sender, _) = heard.recvfrom(65535)
    packet, asked = data[(data[0] & 15) * 4 :], socket.inet_ntoa(data[16:20])
    if packet[0] != 8:
        continue
    if asked.endswith(".11"):
        answer(packet, sender, OTHER)
    elif asked.endswith(".14") or (asked.endswith(".13") and not late):
        late = late or asked.endswith(".13")
        threading.Timer(0.5, answer, (packet, sender, asked)).start()
    else:
        for _ in range(2 if asked.endswith(".12") else 1):
            answer(packet, sender, asked)
