"""What fails outside everything that catches says what kind of error it was, never its message."""

import subprocess
import sys
import time

import requests

from tests.privacy.personal import FAMILY, NUMBER
from tests.web.served import PROJECT, environment, free_port

SERVE = "from service.cli import web_server; web_server('tests.privacy.broken:app', '127.0.0.1', {port}, 1, 2).serve()"
FAIL = "from service import logs; logs.set_up('debug'); raise ValueError('{said}')"


def test_of_the_web_server_and_a_thread() -> None:
    port = free_port()
    command = [sys.executable, "-c", SERVE.format(port=port)]
    process = subprocess.Popen(
        command, cwd=PROJECT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        for _ in range(100):
            try:
                answer = requests.get(f"http://127.0.0.1:{port}/?{FAMILY}={NUMBER}", timeout=5)
                break
            except requests.ConnectionError:
                time.sleep(0.1)
        assert answer.status_code == 500
        time.sleep(0.5)
    finally:
        process.terminate()
        written, _ = process.communicate(timeout=20)
    assert "Listening at" in written
    assert '"ended_by_an_error"' in written, "the thread"
    assert '"logger": "_granian' in written, "the application"
    assert FAMILY not in written
    assert NUMBER not in written


def test_of_a_process() -> None:
    told = subprocess.run(
        [sys.executable, "-c", FAIL.format(said=NUMBER)], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert told.returncode == 1
    assert '"error": "ValueError"' in told.stderr
    assert NUMBER not in told.stderr + told.stdout
