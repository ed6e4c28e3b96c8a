"""Starts what the tests talk to: the release binary as a mock provider and as a gateway, on free ports."""

import os
import pathlib
import re
import signal
import subprocess

import openai
import pytest

ROOT = pathlib.Path(__file__).parents[2]
BINARY = os.environ.get("MAINSTAY_BINARY", ROOT / "target" / "release" / "mainstay")

# One chain for each way an answer can be: the fault is chosen by the model's name at the mock provider.
MODELS = {
    "chat": "echo",
    "bad-request": "fault:status=400",
    "bad-key": "fault:status=401",
    "rate-limited": "fault:status=429; retry-after=1",
    "broken": "fault:status=500",
    "cut": "fault:cut-after=3",
}


def start(*args, cwd):
    """The process and the address that it prints first."""
    process = subprocess.Popen([BINARY, *args], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    line = process.stdout.readline()
    address = re.search(r"http://127\.0\.0\.1:\d+", line)
    assert address, f"no address in {line!r}"
    return process, address.group()


def stop(process):
    process.send_signal(signal.SIGTERM)
    process.stdout.close()
    assert process.wait(timeout=30) == 0


@pytest.fixture(scope="session")
def gateway(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mainstay")
    mock, upstream = start("mock-provider", "--listen", "127.0.0.1:0", "--word-delay-ms", "1", cwd=folder)
    chains = "".join(f'[chain.{name}]\ntargets = ["mock/{model}"]\nretries = 0\n' for name, model in MODELS.items())
    provider = f'[provider.mock]\nkind = "openai"\nbase_url = "{upstream}/v1"\nbreaker = {{ failures = 1000 }}\n'
    (folder / "mainstay.toml").write_text(provider + chains)
    process, address = start("--listen", "127.0.0.1:0", "--config", "mainstay.toml", cwd=folder)
    yield address
    stop(process)
    stop(mock)


@pytest.fixture(scope="session")
def client(gateway):
    return openai.OpenAI(base_url=f"{gateway}/v1", api_key="unused", max_retries=0)
