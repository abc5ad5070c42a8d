"""`python -m lipsync_core serve`."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from pathlib import Path

from ..errors import LipSyncError
from ..types import Hooks
from .settings import ServiceSettings

NEEDS = "The service needs more packages: pip install grpcio grpcio-health-checking protobuf prometheus-client"


def add_parser(commands: argparse._SubParsersAction, common: argparse.ArgumentParser) -> None:
    """The subcommand `serve`."""
    usual = ServiceSettings()
    serve = commands.add_parser("serve", parents=[common], help="answer programs written for NVIDIA's LipSync service",
                                formatter_class=argparse.ArgumentDefaultsHelpFormatter,
                                description="Serve the gRPC interface of NVIDIA's LipSync NIM (docs/service.md). Ends with Ctrl-C or "
                                "SIGTERM, when what runs is finished.")
    serve.add_argument("--host", default=usual.host, help="address to listen on; 0.0.0.0 for all of the machine's")
    serve.add_argument("--port", type=int, default=usual.port, help="gRPC; 0 for any free one")
    serve.add_argument("--http-port", type=int, default=usual.http_port, help="health and metrics; 0 for any free one")
    serve.add_argument("--generator", default=usual.generator, help="morph, lipsyncnet, or a checkpoint file as for dub")
    serve.add_argument("--generator-options", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="as for dub, for example "
                       "device=cuda")
    serve.add_argument("--device", default=usual.device, help="torch device of the face models")
    limits = serve.add_argument_group("limits")
    limits.add_argument("--streams", type=int, default=usual.streams, metavar="N", help="requests that are worked on at once")
    limits.add_argument("--queue", type=int, default=usual.queue, metavar="N", help="requests that may wait; more are turned away")
    limits.add_argument("--max-upload", type=float, default=usual.max_upload / 2**30, metavar="GIB", help="size of one file")
    limits.add_argument("--max-message", type=float, default=usual.max_message / 2**20, metavar="MIB", help="size of one message")
    limits.add_argument("--idle", type=float, default=usual.idle, metavar="SEC", help="a client that sends nothing so long is given up")
    limits.add_argument("--total", type=float, default=usual.total, metavar="SEC", help="a request may last so long")
    limits.add_argument("--keepalive", type=float, default=usual.keepalive, metavar="SEC", help="how often a waiting client is told so")
    limits.add_argument("--grace", type=float, default=usual.grace, metavar="SEC", help="what runs at the end has so long to finish")
    limits.add_argument("--temp", type=Path, default=None, metavar="FOLDER", help="for temporary files")
    tls = serve.add_argument_group("TLS")
    tls.add_argument("--tls-cert", type=Path, default=None, metavar="PEM", help="the server's certificate chain")
    tls.add_argument("--tls-key", type=Path, default=None, metavar="PEM", help="its key")
    tls.add_argument("--tls-client-ca", type=Path, default=None, metavar="PEM", help="mutual TLS: clients need a certificate of this root")
    serve.set_defaults(run=run, stopped="stopped")


def run(chosen: argparse.Namespace, hooks: Hooks) -> None:
    """Serve until a signal comes."""
    from ..generators import parse_options

    settings = ServiceSettings(
        chosen.host, chosen.port, chosen.http_port, chosen.generator, chosen.device, parse_options(chosen.generator_options),
        chosen.streams, chosen.queue,
        int(chosen.max_message * 2**20), int(chosen.max_upload * 2**30), chosen.idle, chosen.total, chosen.keepalive, chosen.grace,
        chosen.temp, chosen.tls_cert, chosen.tls_key, chosen.tls_client_ca)
    settings.check()
    try:
        from .server import Server
    except ImportError as error:
        raise LipSyncError(f"{NEEDS} ({error.name or error} is missing).") from error
    logging.getLogger("lipsync_core").setLevel(logging.DEBUG if chosen.debug else logging.WARNING if chosen.quiet else logging.INFO)
    if not chosen.debug:
        logging.getLogger("lipsync_core.dubbing").setLevel(logging.WARNING)     # a request's own line says the same
    for handler in logging.getLogger().handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    end = threading.Event()
    # A second signal ends at once, as it does anywhere.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: (signal.signal(number, signal.SIG_DFL), end.set()))
    server = Server(settings)
    sys.stdout.write(f"gRPC on {settings.host}:{server.port}{'' if settings.certificate is None else ' (TLS)'}, health and metrics on "
                     f"http://{settings.host}:{server.http_port}\n")
    sys.stdout.flush()
    while not end.wait(1.0):                                          # Windows looks at signals between waits only
        pass
    server.close()
