"""What flows while a node is taken over: run as a program inside of pods.

``udp-receive PORT`` and ``udp-send HOST PORT`` count numbered packets at 1 kHz; ``tcp-serve PORT``
and ``tcp-stream HOST PORT`` a stream. Senders go on until their standard input ends. Each prints
one line of JSON at its end; receivers print ``ready`` first.
"""

import contextlib
import json
import select
import socket
import struct
import sys
import time

PERIOD_S = 0.001
LEAST = 100
SO_RCVBUFFORCE = 33
END = (1 << 64) - 1
# TCP_INFO: tcpi_total_retrans is the 25th 32-bit word after eight bytes (linux/tcp.h).
_TOTAL_RETRANS = 8 + 4 * 23


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _goes_on() -> bool:
    return not select.select([sys.stdin], [], [], 0)[0]


def udp_receive(port: int) -> dict[str, int]:
    link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    link.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
    link.bind(("0.0.0.0", port))
    _say("ready")
    seen: set[int] = set()
    while (number := struct.unpack("!Q", link.recv(8))[0]) != END:
        seen.add(number)
    return {"received": len(seen), "missing": max(seen, default=-1) + 1 - len(seen)}


def udp_send(host: str, port: int) -> dict[str, int]:
    link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    link.connect((host, port))
    number, due = 0, time.monotonic()
    while number < LEAST or _goes_on():
        link.send(struct.pack("!Q", number))
        number += 1
        due = max(due + PERIOD_S, time.monotonic() - 1)
        time.sleep(max(0.0, due - time.monotonic()))
    with contextlib.suppress(ConnectionRefusedError):  # the first one was enough
        for _ in range(3):
            link.send(struct.pack("!Q", END))
    return {"sent": number}


def tcp_serve(port: int) -> dict[str, int]:
    listener = socket.create_server(("0.0.0.0", port))
    _say("ready")
    link, _ = listener.accept()
    count = 0
    while chunk := link.recv(1 << 16):
        count += len(chunk)
    return {"received": count}


def tcp_stream(host: str, port: int) -> dict[str, int]:
    link = socket.create_connection((host, port), timeout=30)
    count = 0
    while count < LEAST * 1000 or _goes_on():
        link.sendall(bytes(1000))
        count += 1000
        time.sleep(PERIOD_S)
    link.shutdown(socket.SHUT_WR)
    link.recv(1)
    info = link.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    return {"sent": count, "retransmits": struct.unpack_from("=I", info, _TOTAL_RETRANS)[0]}


if __name__ == "__main__":
    name, *rest = sys.argv[1:]
    match name:
        case "udp-receive":
            told = udp_receive(int(rest[0]))
        case "udp-send":
            told = udp_send(rest[0], int(rest[1]))
        case "tcp-serve":
            told = tcp_serve(int(rest[0]))
        case _:
            told = tcp_stream(rest[0], int(rest[1]))
    _say(json.dumps(told))
