"""`importers`, and `python -c`, without two seconds of imports, for tests that run them as a person does, and often.

As a script this is a process that has made them; each command is a fork of it, with the caller's directory, environment
and streams, but not with its limits or namespaces. It never starts a thread, so that a fork of it is safe.
"""

from __future__ import annotations

import gc
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ASK = """
import json, os, signal, socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
    server.connect({address!r})
    call = {{"words": sys.argv[1:], "directory": os.getcwd(), "environment": dict(os.environ)}}
    socket.send_fds(server, [json.dumps(call).encode()], [0, 1, 2])
    code = server.recv(1)
    server.recv(1)  # nothing, once the process has ended
if not code:  # a signal has killed it
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(code[0])
"""


@contextmanager
def warm_importers() -> Iterator[Path]:
    """A directory with the commands `importers` and `warm-python`, for the front of a PATH."""
    with tempfile.TemporaryDirectory(prefix="warm-") as home:
        address, client = f"{home}/socket", Path(home, "client.py")
        client.write_text(ASK.format(address=address))
        for name in ("importers", "warm-python"):
            command = Path(home, name)
            command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -SI {client} {name} "$@"\n')
            command.chmod(0o755)
        with subprocess.Popen([sys.executable, __file__, address], stdout=subprocess.PIPE) as server:
            assert server.stdout
            assert server.stdout.readline() == b"ready\n"
            try:
                yield Path(home)
            finally:
                server.terminate()


def _serve(address: str) -> None:
    import pyarrow as pa

    import importers.cli.main
    import importers.destinations.postgresql
    import importers.pipeline.lint
    import importers.pipeline.run
    import importers.quality.vocabulary
    import importers.sources.files.csv
    import importers.transport.embedded  # noqa: F401

    pa.array([0])  # a process's first imports pandas
    gc.collect()
    gc.freeze()  # else each child's first collection copies the pages of all that is imported
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.bind(address)
        server.listen(8)
        print("ready", flush=True)
        while True:
            caller, _ = server.accept()
            if not os.fork():
                server.close()
                _live(caller)
            caller.close()


def _live(caller: socket.socket) -> None:
    """The child's whole life, as the command itself."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    message, streams, *_ = socket.recv_fds(caller, 1 << 20, 3)
    call = json.loads(message)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(call["directory"])
    os.environ.clear()
    os.environ.update(call["environment"])
    code = 1
    try:
        _run(*call["words"])
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        caller.send(bytes([code]))
    sys.exit(code)


def _run(command: str, *words: str) -> None:
    from importers.cli.main import main

    if command == "importers":
        sys.argv = [command, *words]
        main()
    else:
        _, program, *arguments = words
        sys.argv = ["-c", *arguments]
        exec(program, {"__name__": "__main__"})


if __name__ == "__main__":
    _serve(sys.argv[1])
