"""Starts what the tests talk to: the release binary as a mock provider and as a gateway, on free ports."""

import json
import os
import pathlib
import re
import signal
import subprocess
import time
import urllib.request

import anthropic
import openai
import pytest

ROOT = pathlib.Path(__file__).parents[2]
BINARY = os.environ.get("MAINSTAY_BINARY", ROOT / "target" / "release" / "mainstay")

# One chain for each way an answer can be: the fault is chosen by the model's name at the mock provider, which is asked
# in the OpenAI dialect for the first ones and in the Anthropic dialect for the others.
OPENAI = {
    "chat": "echo",
    "bad-request": "fault:status=400",
    "bad-key": "fault:status=401",
    "rate-limited": "fault:status=429; retry-after=1",
    "broken": "fault:status=500",
    "cut": "fault:cut-after=3",
    "response-cut": "fault:cut-after=6",
}


def woven():
    """A stream of two tool calls, written piece by piece in turn, which the mock provider sends as it stands."""

    def chunk(delta, reason=None):
        data = {"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
        return f"data: {json.dumps(data)}\n\n"

    def piece(index, arguments, **begins):
        call = {"index": index, "function": {"arguments": arguments, **begins}, "id": f"c{index}"}
        return chunk({"tool_calls": [call]})

    begun = piece(0, '{"text":', name="say") + piece(1, '{"text": ', name="say")
    ended = chunk({}, "tool_calls") + "data: [DONE]\n\n"
    body = begun + piece(0, ' "one"') + piece(1, '"two"}') + piece(0, "}") + ended
    return f"fault:exact=200; content-type=text/event-stream; body={body}"


OPENAI["woven"] = woven()
STATUSES = [400, 401, 403, 404, 413, 429, 500, 529]
ANTHROPIC = {
    "claude": "echo",
    "claude-cut": "fault:cut-after=5",
    "claude-error": "fault:error-after=5",
    "claude-slow": "fault:hang",
} | {f"claude-{status}": f"fault:status={status}" for status in STATUSES}


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
def upstream(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mock")
    mock, address = start("mock-provider", "--listen", "127.0.0.1:0", "--word-delay-ms", "1", cwd=folder)
    yield address
    stop(mock)


@pytest.fixture
def upstream_counts(upstream):
    """Reads what the mock provider has counted, waiting up to 10 s until it is as it should be."""

    def counts(until=lambda _: True):
        for _ in range(200):
            with urllib.request.urlopen(f"{upstream}/control") as answer:
                found = json.load(answer)["counts"]
            if until(found):
                return found
            time.sleep(0.05)
        raise AssertionError(f"never: {found}")

    return counts


@pytest.fixture(scope="session")
def gateway(tmp_path_factory, upstream):
    folder = tmp_path_factory.mktemp("mainstay")
    config = ""
    # A provider each, and nobody is left alone for what an earlier test did to it.
    for kind, models in {"openai": OPENAI, "anthropic": ANTHROPIC}.items():
        for name, model in models.items():
            config += f'[provider.{name}]\nkind = "{kind}"\nbase_url = "{upstream}/v1"\nbreaker = false\nlimits = false\n'
            config += f'[chain.{name}]\ntargets = [{json.dumps(f"{name}/{model}")}]\nretries = 0\n'
    (folder / "mainstay.toml").write_text(config)
    process, address = start("--listen", "127.0.0.1:0", "--config", "mainstay.toml", cwd=folder)
    yield address
    stop(process)


@pytest.fixture
def fragile(tmp_path):
    """A gateway over one provider, which keeps answers fresh for a second only; and what takes that provider away."""
    mock, upstream = start("mock-provider", "--listen", "127.0.0.1:0", cwd=tmp_path)
    config = '[cache]\nttl = "1s"\nstale = "0s"\n'
    for kind in ["openai", "anthropic"]:
        config += f'[provider.{kind}]\nkind = "{kind}"\nbase_url = "{upstream}/v1"\n'
        config += f'[chain.{kind}]\ntargets = ["{kind}/echo"]\nretries = 0\n'
    (tmp_path / "mainstay.toml").write_text(config)
    process, address = start("--listen", "127.0.0.1:0", "--config", "mainstay.toml", cwd=tmp_path)
    yield address, lambda: stop(mock)
    stop(process)
    if mock.returncode is None:
        stop(mock)


@pytest.fixture(scope="session")
def client(gateway):
    return openai.OpenAI(base_url=f"{gateway}/v1", api_key="unused", max_retries=0)


@pytest.fixture(scope="session")
def claude(gateway):
    return anthropic.Anthropic(base_url=gateway, api_key="unused", max_retries=0)
