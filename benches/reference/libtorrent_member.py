#!/usr/bin/env python3
"""A member of a BitTorrent swarm for `bench swarm --real --reference libtorrent`.

Needs libtorrent's Python module (Debian: python3-libtorrent). There is no tracker, no DHT and no
search in the local network: a member connects to the addresses that it is given. Pieces have 64 KiB
as the chunks of `rtmfp share` have.

    libtorrent_member.py make FILE TORRENT
    libtorrent_member.py member --torrent TORRENT --save DIR --listen ADDR:PORT
                                --connect ADDR:PORT,... [--sequential] [--seed]

A member prints a JSON object for each piece that has arrived and was verified, one at the end, and
shares on until SIGINT.
"""

import argparse
import json
import os
import signal
import time

import libtorrent

PIECE = 64 * 1024
SETTINGS = {
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    # All members come from one network here.
    "allow_multiple_connections_per_ip": True,
    # Others may not be there yet when they are first connected to.
    "min_reconnect_time": 1,
    "max_failcount": 100,
}


def say(event, **members):
    print(json.dumps({"event": event, **members}), flush=True)


def make(file, torrent):
    storage = libtorrent.file_storage()
    libtorrent.add_files(storage, file)
    # BitTorrent 1 only: its pieces are those of the file as a whole.
    created = libtorrent.create_torrent(storage, PIECE, libtorrent.create_torrent.v1_only)
    libtorrent.set_piece_hashes(created, os.path.dirname(os.path.abspath(file)))
    with open(torrent, "wb") as output:
        output.write(libtorrent.bencode(created.generate()))


def member(options):
    kinds = libtorrent.alert.category_t
    session = libtorrent.session({
        **SETTINGS,
        "listen_interfaces": options.listen,
        "alert_mask": kinds.status_notification | kinds.piece_progress_notification,
        "alert_queue_size": 100_000,
    })
    parameters = libtorrent.add_torrent_params()
    parameters.ti = libtorrent.torrent_info(options.torrent)
    parameters.save_path = options.save
    flags = libtorrent.torrent_flags
    parameters.flags &= ~(flags.auto_managed | flags.paused)
    if options.seed:
        parameters.flags |= flags.seed_mode
    if options.sequential:
        parameters.flags |= flags.sequential_download
    handle = session.add_torrent(parameters)
    addresses = [address.rsplit(":", 1) for address in options.connect.split(",") if address]
    addresses = [(host, int(port)) for host, port in addresses]

    stopped = []
    signal.signal(signal.SIGINT, lambda *_: stopped.append(True))
    is_complete = False
    connect_at = 0.0
    while not stopped:
        session.wait_for_alert(200)
        for alert in session.pop_alerts():
            if isinstance(alert, libtorrent.piece_finished_alert):
                say("chunk", index=alert.piece_index + 1)
        if not is_complete and handle.status().is_seeding:
            is_complete = True
            handle.flush_cache()
            say("complete")
        if time.monotonic() >= connect_at:
            connect_at = time.monotonic() + 1
            connected = {peer.ip[0] for peer in handle.get_peer_info()}
            for address in addresses:
                if address[0] not in connected:
                    handle.connect_peer(address)
    say("stopped", bytes_uploaded=handle.status().total_payload_upload)
    # Its end would wait for those that are gone.
    os._exit(0)


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make")
    making.add_argument("file")
    making.add_argument("torrent")
    joining = commands.add_parser("member")
    joining.add_argument("--torrent", required=True)
    joining.add_argument("--save", required=True)
    joining.add_argument("--listen", required=True)
    joining.add_argument("--connect", default="")
    joining.add_argument("--sequential", action="store_true")
    joining.add_argument("--seed", action="store_true")
    options = parser.parse_args()
    if options.command == "make":
        make(options.file, options.torrent)
    else:
        member(options)


main()
