# SPDX-License-Identifier: Apache-2.0
"""Runs inside the guest as its first process: does what the test asks for.

Requests and answers are lines of JSON on a virtio serial port. A request has an `id`, which its
answer repeats, and an `op`; each is handled in a thread of its own. Commands are started by the
launcher, a process without threads that has imported uspnet once and forks: importing takes
seconds on an emulated processor.
"""

import glob
import importlib
import json
import os
import pathlib
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import traceback

OUTPUT = "/run/guest"  # <pid>.out and <pid>.err are what a command printed
LOCK = threading.Lock()  # held for one exchange on the serial port, or with the launcher


# -- the launcher --------------------------------------------------------------------------------


def preload(root):
    """Imports all of uspnet, and what it imports when it runs."""
    if root in sys.path:
        return
    sys.path.insert(0, root)

    from tests.support import warm

    warm.load()


def become(argv, cwd, env, user, root, files):
    """Turns this process into the command. Does not return."""
    os.setsid()
    for number, fd in enumerate([os.open(os.devnull, os.O_RDONLY), *files]):
        os.dup2(fd, number)
    os.chdir(cwd)
    os.environ.update(env)
    if user is not None:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    if argv[0] not in {"uspnet", "source"}:
        os.execvp(argv[0], argv)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    code = 0
    try:
        if argv[0] == "uspnet":
            sys.argv = argv
            code = importlib.import_module("uspnet.cli").main()
        else:
            sys.argv = argv[1:]
            exec(compile(argv[1], "<test>", "exec"), {"__name__": "__main__"})
    except SystemExit as error:
        code = error.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:  # noqa: BLE001 - as Python itself would
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


def launcher(port):
    """Forks a process for each request that comes with the files for its output."""
    while True:
        message, files, _, _ = socket.recv_fds(port, 1 << 20, 2)
        if not message:
            return
        request = json.loads(message)
        if request["argv"][0] in {"uspnet", "source"}:
            try:
                preload(request["root"])
            except Exception:  # noqa: BLE001 - the command will fail in the same way
                os.write(files[1], traceback.format_exc().encode())
        told, tell = os.pipe()
        between = os.fork()
        if not between:  # when it has ended, its child is the first process's: the agent's
            pid = os.fork()
            if not pid:
                port.close()
                try:
                    become(**request, files=files)
                except BaseException as error:  # noqa: BLE001 - to the user, then gone
                    os.write(2, f"{request['argv'][0]}: {error}\n".encode())
                    os._exit(127)
            os.write(tell, str(pid).encode())
            os._exit(0)
        os.waitpid(between, 0)
        port.send(os.read(told, 32))
        files += [told, tell]
        for fd in files:
            os.close(fd)


def start_launcher():
    """Starts it. Returns our end of the socket."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if not os.fork():
        ours.close()
        launcher(theirs)
        os._exit(0)
    theirs.close()
    return ours


# -- what a test can ask for ---------------------------------------------------------------------


def start(argv, cwd, env, user, root):
    """Starts a process in a session of its own."""
    request = {"argv": argv, "cwd": cwd, "env": env, "user": user, "root": root}
    names = [f"{OUTPUT}/new.out", f"{OUTPUT}/new.err"]
    with LOCK:
        files = [os.open(name, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o644) for name in names]
        socket.send_fds(LAUNCHER, [json.dumps(request).encode()], files)
        for fd in files:
            os.close(fd)
        pid = int(LAUNCHER.recv(32))
        for name in names:
            os.rename(name, name.replace("new", str(pid)))
    return {"pid": pid}


def output(pid):
    """What a process has printed so far."""
    texts = {}
    for kind in ("out", "err"):
        with open(f"{OUTPUT}/{pid}.{kind}", "rb") as file:
            texts[kind] = file.read().decode(errors="replace")
    return texts


def wait(pid, timeout):
    """Waits for a process to end; one that takes too long is killed, with all of its session."""
    end = time.monotonic() + timeout
    late = False
    while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
        if time.monotonic() > end and not late:
            late = True
            os.killpg(pid, signal.SIGKILL)
        time.sleep(0.01)
    return {"code": os.waitstatus_to_exitcode(ended[1]), "late": late, **output(pid)}


def kill(pid, number):
    """Sends a signal to a process that was started."""
    os.kill(pid, number)
    return {}


def read(path):
    """A small file's text."""
    with open(path) as file:
        return {"text": file.read()}


def write(path, text):
    """Writes to an existing file, in one call, as sysfs wants it."""
    with open(path, "w") as file:
        file.write(text)
    return {}


def link(path):
    """What a symbolic link holds; an empty text without one, which may go at any moment."""
    try:
        return {"text": os.readlink(path)}
    except FileNotFoundError:
        return {"text": ""}


def names(path):
    """A folder's entries."""
    return {"names": sorted(os.listdir(path)) if os.path.isdir(path) else []}


OPERATIONS = {each.__name__: each for each in (start, output, wait, kill, read, write, link, names)}


def handle(port, request):
    """Does one request, and answers."""
    try:
        answer = OPERATIONS[request["op"]](**request["args"])
    except Exception as error:  # noqa: BLE001 - it is the test that must see it
        answer = {"error": f"{type(error).__name__}: {error}", "errno": getattr(error, "errno", 0)}
    line = json.dumps({"id": request["id"], **answer}).encode() + b"\n"
    with LOCK:
        while line:
            line = line[os.write(port, line) :]


def open_port():
    """The port whose name is ours."""
    for path in glob.glob("/sys/class/virtio-ports/*"):
        with open(f"{path}/name") as file:
            if file.read().strip() == "uspnet":
                return os.open(f"/dev/{os.path.basename(path)}", os.O_RDWR)
    raise SystemExit("no serial port")


def open_interpreter():
    """Lets all users of the guest run Python, which may lie in a folder that is root's alone."""
    for folder in pathlib.Path(os.path.realpath(sys.executable)).parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


if __name__ == "__main__":
    os.environ.update(PATH="/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin")
    os.mkdir(OUTPUT)
    LAUNCHER = start_launcher()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=False)
    with open("/proc/sys/net/ipv6/conf/default/disable_ipv6", "w") as file:
        file.write("1")  # it would send unasked
    open_interpreter()
    PORT = open_port()
    os.write(PORT, b'{"id": 0}\n')
    with os.fdopen(PORT, "rb", closefd=False) as lines:
        for line in lines:
            threading.Thread(target=handle, args=(PORT, json.loads(line)), daemon=True).start()
