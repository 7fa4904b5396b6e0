#!/usr/bin/env python3
"""A cable that delays and loses frames, for `bench swarm --real` where the kernel has no netem.

    lossy_cable.py --near TAP --far TAP --delay-ms MS --loss P --frames N --seed N

Makes two virtual network cards (Linux, root) and passes the frames of each to the other. Those that
enter at the near end come out at the far end later, or never; N of them fit into the cable, more are
lost. The other direction is immediate. Prints `ready` when both cards are there, and runs until it is
stopped.
"""

import argparse
import collections
import fcntl
import os
import random
import select
import struct
import time

TUNSETIFF = 0x400454CA
IFF_TAP = 0x0002
IFF_NO_PI = 0x1000
FRAME = 65536


def card(name):
    file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(file, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return file


def frames(file):
    try:
        while True:
            yield os.read(file, FRAME)
    except BlockingIOError:
        pass


def send(file, frame):
    try:
        os.write(file, frame)
    except OSError:
        pass  # The card is not up, or its queue is full: the frame is lost.


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--near", required=True)
    parser.add_argument("--far", required=True)
    parser.add_argument("--delay-ms", type=float, default=0)
    parser.add_argument("--loss", type=float, default=0)
    parser.add_argument("--frames", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    near, far = card(args.near), card(args.far)
    print("ready", flush=True)
    chance = random.Random(args.seed)
    waiting = collections.deque()
    while True:
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            send(far, waiting.popleft()[1])
        timeout = max(waiting[0][0] - now, 0) if waiting else None
        ready, _, _ = select.select([near, far], [], [], timeout)
        if far in ready:
            for frame in frames(far):
                send(near, frame)
        if near in ready:
            due = time.monotonic() + args.delay_ms / 1000
            for frame in frames(near):
                if chance.random() >= args.loss and len(waiting) < args.frames:
                    waiting.append((due, frame))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
