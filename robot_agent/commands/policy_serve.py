"""`policy serve`: a release answers a robot on another machine."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from robot_agent.commands.options import (
    add_command,
    add_json,
    add_releases,
    whole,
)
from robot_agent.commands.output import show

if TYPE_CHECKING:
    from robot_agent.commands.options import Commands


def register(policy: "Commands") -> None:
    """Add the command to the group `policy`."""
    serve = add_command(policy, "serve", "let a release answer a robot over the network", _serve)
    serve.add_argument("--release", default="", help="label; the current one by default")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (loopback)")
    serve.add_argument("--port", type=whole(0, 65535), default=8766)
    serve.add_argument(
        "--token-file", type=Path, help="its text is asked of robots; must where not loopback"
    )
    add_releases(serve)
    add_json(serve)


def _serve(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    from robot_agent.commands.weights import open_registry, require_known
    from robot_agent.compose import load_policy
    from robot_agent.models.policy_server import PolicyServer, ServerConfig
    from robot_agent.models.wire import read_token

    token = "" if arguments.token_file is None else read_token(arguments.token_file)
    config = ServerConfig(host=arguments.host, port=arguments.port, token=token)
    registry = open_registry(arguments.releases)
    label = arguments.release or registry.current()
    require_known(registry, label)
    server = PolicyServer(load_policy(registry.path(label)), config)
    words = f"{label}: served on {config.host}:{server.port}, until Ctrl-C"
    results = {"release": label, "host": config.host, "port": server.port}
    show("policy serve", results, as_json=arguments.json, tables=[words])
    sys.stdout.flush()  # who started it by a pipe waits for the port
    try:
        server.serve()
    except KeyboardInterrupt:
        server.close()
    return 0
