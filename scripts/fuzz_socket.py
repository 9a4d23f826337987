"""Sends malformed bytes to scripts.fuzz_server: python -m scripts.fuzz_socket PORT PID COUNT."""

import random
import socket
import sys
from collections import Counter
from pathlib import Path

PATHS = (b"/v1/completions", b"/v1/chat/completions", b"/generate", b"/", b"/v1/moderations")
BODY = b'{"model":"x","prompt":"The","max_tokens":2,"stream":true}'
LENGTHS = (b"-1", b"9" * 30, b"abc", b"\xff", b"1e3", b" ")
CHUNKS = (b"zz\r\nabc", b"5\r\nab", b"ffffffffffff\r\n")


def noise(size: int) -> bytes:
    """Return random bytes."""
    return bytes(random.randrange(256) for _ in range(size))


def body(kind: int) -> bytes:
    """Return a body: noise, one wrong byte, cut short, nested deep, no UTF-8, or a right one."""
    place = random.randrange(len(BODY))
    broken = {
        0: noise(place),
        1: BODY[:place] + noise(1) + BODY[place + 1 :],
        2: BODY[:place],
        3: b"[" * random.randrange(1, 50_000),
        4: b'{"prompt":"\xff\xfe\xed\xa0\x80","max_tokens":1}',
    }
    return broken.get(kind, BODY)


def request(kind: int) -> bytes:
    """Return a request with one of nine faults."""
    if kind == 8:
        return noise(random.randrange(1, 400))
    head = b"POST " + random.choice(PATHS) + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    head += b"Content-Type: application/json\r\n"
    if kind == 6:
        head += noise(40) + b": x\r\n"
    if kind == 7:
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + random.choice(CHUNKS)
    sent = body(kind)
    length = random.choice(LENGTHS) if kind == 5 else b"%d" % len(sent)
    return head + b"Content-Length: " + length + b"\r\n\r\n" + sent


def answer(port: int, sent: bytes) -> str:
    """Return the status that came back, or that the connection was closed."""
    got = b""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        try:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65536):
                got += part
        except ConnectionError:
            return "closed"
    return got[9:12].decode() if got.startswith(b"HTTP/1.1 ") else "closed"


def memory(pid: int) -> str:
    """Return the resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(line for line in lines if line.startswith("VmRSS")).split(None, 1)[1]


def main() -> None:
    """Send the requests; say what came back, and the server's memory on the way."""
    port, pid, count = (int(argument) for argument in sys.argv[1:])
    random.seed(7)
    seen: Counter[str] = Counter()
    for number in range(count):
        seen[answer(port, request(number % 9))] += 1
        if number % (count // 4) == 0:
            sys.stdout.write(f"{number} requests, {memory(pid)}\n")
    sys.stdout.write(f"{count} requests, {memory(pid)}: {dict(seen)}\n")
    sys.exit(any(status.startswith("5") for status in seen))


if __name__ == "__main__":
    main()
