"""The official Node SDKs work against the gateway unchanged (GW1): runs the tests of tests/node."""

import os
import pathlib
import subprocess

import pytest

NODE = pathlib.Path(__file__).parents[1] / "node"


@pytest.mark.parametrize("sdk", ["openai", "anthropic"])
def test_the_node_sdk(gateway, sdk):
    command = ["node", "--test", "--test-reporter=tap", f"{sdk}.test.js"]
    done = subprocess.run(command, cwd=NODE, env=os.environ | {"GATEWAY": gateway}, capture_output=True, text=True)
    assert done.returncode == 0 and "# pass 0" not in done.stdout, done.stdout + done.stderr
