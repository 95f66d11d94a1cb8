"""Serves the stub policy in a process of its own: python serve_stub.py PORT TOKEN_FILE VERSION."""

import sys
from pathlib import Path

from stub_policy_node import StubPolicy  # beside this script

from robot_agent.models.policy_server import PolicyServer, ServerConfig
from robot_agent.models.wire import read_token

if __name__ == "__main__":
    port, token, version = int(sys.argv[1]), read_token(Path(sys.argv[2])), sys.argv[3]
    config = ServerConfig(port=port, token=token)
    server = PolicyServer(StubPolicy(version, {"step_m": 0.002}), config)
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.flush()
    server.serve()
