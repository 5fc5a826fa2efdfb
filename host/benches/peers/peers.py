"""Portcullis beside what a user would pick instead: the same jobs, in one run, on one machine.

`cargo xtask bench peers` installs, builds and starts this. What is measured is one call from a client's view, with a
warm host; each peer as it comes, with its defaults. Then each is given a loop without an end and a memory without one.
"""

import argparse
import contextlib
import http.client
import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).parent
CALLS_MAX = 2_000
# Fewer have no such percentile.
P99_CALLS_MIN = 100
# As the figures' names begin, and what each is put beside.
NAME = "peers"
BASE = "portcullis, HTTP"
# What is measured in turns, and how often at least.
TURNS = "portcullis call, Python, no host runs"
TURNS_MIN = 30
# The longest that anybody is waited for: for an answer, and until a job without an end counts as going on.
ANSWER_SECONDS_MAX = 60
RUNAWAY_SECONDS_MAX = 10
START_SECONDS_MAX = 60

TEXTS = {
    "echo": '{"nested":{"yes":true},"numbers":[1,2,3],"text":"a short string"}',
    "hash": "0123456789abcdef" * 65_536,
    # Few quotes: they would be twice as long within another document.
    "parse": "[" + ",".join(f"[{number},{number % 7},{number * 3}]" for number in range(45_000)) + "]",
}
TEXTS["hash"] = TEXTS["hash"][:1_000_000]
TEXTS["parse"] = TEXTS["parse"][:990_000].rsplit(",[", 1)[0] + "]"


class Failed(Exception):
    """A peer did not do what was asked."""


def ended(process):
    """Ends a process that was started here with all that it started itself, and waits."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(3)
    # Each is a group of its own: some are wrappers that leave what they wrap behind.
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def memory_peak(pid):
    """The most memory that a process and its children held, in MiB, as far as they still run."""
    total = 0
    for candidate in Path("/proc").glob("[0-9]*"):
        try:
            status = (candidate / "status").read_text()
            fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
            if int(candidate.name) == pid or int(fields["PPid"]) == pid:
                total += int(fields.get("VmHWM", "0 kB").split()[0])
        except (OSError, ValueError, KeyError):
            continue
    return total // 1024


class Command:
    """A process for each call."""

    def __init__(self, command, stdin=True, cwd=None, parse=None, environment=None):
        self.command, self.stdin, self.cwd, self.parse = command, stdin, cwd, parse
        self.environment, self.process, self.stderr = environment, None, ""

    def call(self, job, text):
        command = self.command(job, text) if callable(self.command) else [*self.command, job]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            cwd=self.cwd, env=self.environment, start_new_session=True,
        )
        out, self.stderr = self.process.communicate(text if self.stdin else None)
        if self.process.returncode:
            raise Failed(f"exit {self.process.returncode}: {(self.stderr or out).strip()[-200:]}")
        return self.parse(out) if self.parse else out

    def log(self):
        return self.stderr

    def pid(self):
        return self.process.pid if self.process else None

    def close(self):
        if self.process:
            ended(self.process)


class Served:
    """A process that serves; its stderr is what it logs."""

    def __init__(self, command, environment=None, stdio=False, cwd=None, fds=()):
        self.stderr = tempfile.TemporaryFile()
        pipe = subprocess.PIPE if stdio else subprocess.DEVNULL
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=self.stderr, env=environment, cwd=cwd, pass_fds=fds,
            start_new_session=True,
        )

    def log(self):
        self.stderr.seek(0)
        return self.stderr.read().decode(errors="replace")

    def pid(self):
        return self.process.pid

    def close(self):
        ended(self.process)


class Http:
    """One connection that is kept, without Nagle's delay."""

    def __init__(self, port, host="127.0.0.1"):
        self.host, self.port, self.connection = host, port, None

    def post(self, path, body, headers):
        if self.connection is None:
            self.connection = http.client.HTTPConnection(self.host, self.port, timeout=ANSWER_SECONDS_MAX)
            self.connection.connect()
            self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.connection.request("POST", path, body, headers)
            response = self.connection.getresponse()
            return response, response.read()
        except (OSError, http.client.HTTPException):
            self.connection.close()
            self.connection = None
            raise


class Mcp:
    """Speaks MCP, revision 2025-11-25: `send` takes a message and gives the answer to it."""

    def __init__(self, tool, read=str):
        # `read` makes the text of an answer what the job said.
        self.tool, self.read, self.number = tool, read, 0

    def begin(self):
        client = {"name": "peers", "version": "1"}
        params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client}
        self.ask("initialize", params)
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def ask(self, method, params):
        self.number += 1
        answer = self.send({"jsonrpc": "2.0", "id": self.number, "method": method, "params": params})
        if "result" not in answer:
            raise Failed(json.dumps(answer.get("error"))[:200])
        return answer["result"]

    def call(self, job, text):
        result = self.ask("tools/call", {"name": self.tool(job), "arguments": {"text": text}})
        said = result["content"][0].get("text", "") if result.get("content") else ""
        if result.get("isError"):
            raise Failed(said[:200])
        return self.read(said)


class McpStdio(Mcp):
    """Over a process's stdin and stdout."""

    def __init__(self, served, tool, read=str):
        super().__init__(tool, read)
        self.served, self.log, self.pid, self.close = served, served.log, served.pid, served.close
        self.begin()

    def send(self, message):
        pipes = self.served.process
        pipes.stdin.write(json.dumps(message).encode() + b"\n")
        pipes.stdin.flush()
        while "id" in message:
            line = pipes.stdout.readline()
            if not line:
                raise Failed("it closed its stdout")
            answer = json.loads(line)
            if answer.get("id") == message["id"]:
                return answer
        return None


class McpHttp(Mcp):
    """Over Streamable HTTP."""

    def __init__(self, http_, path, tool, headers=None, read=str):
        super().__init__(tool, read)
        self.http, self.path, self.session = http_, path, None
        self.headers = {
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": "2025-11-25",
            **(headers or {}),
        }
        self.log, self.pid, self.close = (lambda: ""), (lambda: None), (lambda: None)
        self.begin()

    def send(self, message):
        headers = dict(self.headers)
        if self.session:
            headers["mcp-session-id"] = self.session
        response, body = self.http.post(self.path, json.dumps(message), headers)
        self.session = response.getheader("mcp-session-id") or self.session
        if response.status >= 300:
            raise Failed(f"HTTP {response.status}: {body[:200]!r}")
        if not body or "id" not in message:
            return None
        if response.getheader("content-type", "").startswith("text/event-stream"):
            events = [line[5:] for line in body.decode().splitlines() if line.startswith("data:")]
            return json.loads([one for one in events if one.strip()][-1])
        return json.loads(body)


class Library:
    """A library of Python, in a process with its own packages."""

    def __init__(self, python, name, file, cwd):
        command = [python, str(HERE / "library.py"), name, str(file)]
        self.served = Served(command, stdio=True, cwd=cwd)
        self.log, self.pid, self.close = self.served.log, self.served.pid, self.served.close
        self.line()

    def line(self):
        line = self.served.process.stdout.readline()
        if not line:
            raise Failed(f"it ended: {self.log().strip()[-200:]}")
        told = json.loads(line)
        if "error" in told:
            raise Failed(told["error"])
        return told

    def measured(self, job, text, seconds):
        asked = json.dumps({"job": job, "text": text, "seconds": seconds})
        self.served.process.stdin.write(asked.encode() + b"\n")
        self.served.process.stdin.flush()
        return self.line()

    def call(self, job, text):
        return self.measured(job, text, 0)["answer"]


def measured(peer, job, text, seconds):
    """The answer, and the nanoseconds of each call after the first."""
    if isinstance(peer, Library):
        told = peer.measured(job, text, seconds)
        return told["answer"], told["times"]
    answer = peer.call(job, text)
    times, end = [], time.perf_counter() + seconds
    while len(times) < CALLS_MAX and (time.perf_counter() < end or len(times) < 3):
        start = time.perf_counter_ns()
        again = peer.call(job, text)
        times.append(time.perf_counter_ns() - start)
        if again != answer:
            raise Failed(f"first {answer[:50]}, then {again[:50]}")
    return answer, times


def runaway(make, job):
    """What becomes of a job without an end: how it ended or that it did not, after how long, at what memory."""
    peer = make()
    told = {}
    try:
        peer.call("echo", TEXTS["echo"])
        before = len(peer.log())
        thread_said = []

        def ask():
            try:
                thread_said.append(f"answered {peer.call(job, '')[:60]!r}")
            # Whatever is said at the end is what is looked for.
            except Exception as error:  # noqa: BLE001
                thread_said.append(str(error)[:160])

        thread = threading.Thread(target=ask, daemon=True)
        start, peak = time.perf_counter(), 0
        thread.start()
        while thread.is_alive() and time.perf_counter() - start < RUNAWAY_SECONDS_MAX:
            pid = peer.pid()
            peak = max(peak, memory_peak(pid) if pid else 0)
            time.sleep(0.05)
        told["seconds"] = round(time.perf_counter() - start, 1)
        told["ended"] = not thread.is_alive()
        told["said"] = thread_said[0] if thread_said else ""
        told["memory_peak_mib"] = peak
        told["log"] = (peer.log()[before:].strip().splitlines() or [""])[-1][-200:]
    finally:
        if peer.pid() and not told.get("ended"):
            with contextlib.suppress(OSError):
                os.killpg(peer.pid(), signal.SIGKILL)
        peer.close()
    return told


class Hosts:
    """How each peer is set up and started, in a folder of this run."""

    def __init__(self, options, folder):
        self.portcullis = str(Path(options.portcullis).resolve())
        self.jobs, self.installed = Path(options.jobs).resolve(), Path(options.installed).resolve()
        self.folder = folder
        self.environment = {**os.environ, "HOME": str(folder), "NO_COLOR": "1"}

    def program(self, peer, name):
        return str(self.installed / peer / "bin" / name)

    def our(self, data, *arguments, text=None):
        command = [self.portcullis, "--data-dir", str(data), *arguments]
        ran = subprocess.run(command, capture_output=True, text=True, env=self.environment, timeout=300, input=text)
        if ran.returncode:
            raise Failed(ran.stderr[-300:])
        return ran.stdout

    def data(self, durability, component=None):
        """A data folder with the jobs, approved and granted to `me`: the defaults, and the log as it is said."""
        data = Path(tempfile.mkdtemp(dir=self.folder)) / "data"
        self.our(data, "package", "add", str(component or self.jobs / "component.wasm"), "--name", "jobs")
        self.our(data, "package", "approve", "jobs")
        grants = data.parent / "grants.toml"
        grants.write_text('[[grant]]\npackage = "jobs"\nagents = ["me"]\n')
        self.our(data, "grant", "apply", str(grants))
        if durability:
            (data / "audit.toml").write_text(f'durability = "{durability}"\n')
        return data

    def served(self, durability):
        """A host that is served: its process, port and a key of `me`."""
        data = self.data(durability)
        key = self.our(data, "key", "create", "me").strip()
        command = [self.portcullis, "--data-dir", str(data), "serve", "--listen", "127.0.0.1:0"]
        served = Served(command, self.environment)
        served.log = lambda: self.our(data, "audit", "tail")
        end = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < end:
            with contextlib.suppress(OSError, ValueError, KeyError, IndexError):
                serving = json.loads((data / "serving.json").read_text())
                return served, data, int(serving["urls"][0].rsplit(":", 1)[1]), key
            time.sleep(0.02)
        served.close()
        raise Failed("it does not serve")

    def portcullis_http(self, durability):
        served, _, port, key = self.served(durability)
        connection = Http(port)
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}

        def call(job, text):
            target = f"/v1/calls?package=jobs&tool={job}"
            response, body = connection.post(target, json.dumps({"text": text}), headers)
            if response.status != 200:
                raise Failed(f"HTTP {response.status}: {json.loads(body).get('detail', body)!s:.160}")
            return json.loads(body)["structured"]

        served.call = call
        return served

    def portcullis_mcp_http(self, durability):
        served, _, port, key = self.served(durability)
        spoken = McpHttp(Http(port), "/mcp", "jobs__{}".format, {"authorization": f"Bearer {key}"}, json.loads)
        spoken.log, spoken.pid, spoken.close = served.log, served.pid, served.close
        return spoken

    def portcullis_mcp_stdio(self, durability):
        data = self.data(durability)
        command = [self.portcullis, "--data-dir", str(data), "mcp", "--agent", "me"]
        return McpStdio(Served(command, self.environment, stdio=True), "jobs__{}".format, json.loads)

    def portcullis_call(self, running, component=None):
        served = None
        if running:
            served, data, _, _ = self.served(None)
        else:
            data = self.data(None, component)

        def command(job, text):
            file = data.parent / "arguments.json"
            file.write_text(json.dumps({"text": text}))
            return [self.portcullis, "--data-dir", str(data), "call", "jobs", job, "--as", "me", "--args", f"@{file}"]

        called = Command(command, stdin=False, environment=self.environment, parse=lambda out: out.removesuffix("\n"))
        close = called.close
        called.close = lambda: (close(), served and served.close())
        return called

    def act_call(self):
        def command(job, text):
            file = str(self.jobs / "act.wasm")
            return [self.program("act", "act"), "call", file, job, "--args", json.dumps({"text": text})]

        return Command(command, stdin=False, environment=self.environment, parse=lambda out: out.removesuffix("\n"))

    def act_stdio(self):
        command = [self.program("act", "act"), "run", "--mcp", str(self.jobs / "act.wasm")]
        return McpStdio(Served(command, self.environment, stdio=True), str)

    def act_http(self):
        port = free_port()
        listen = ["--http", "--listen", f"127.0.0.1:{port}"]
        served = Served([self.program("act", "act"), "run", "--mcp", *listen, str(self.jobs / "act.wasm")], self.environment)
        try:
            answering(port)
            spoken = McpHttp(Http(port), "/mcp", str)
        except Exception:
            served.close()
            raise
        spoken.log, spoken.pid, spoken.close = served.log, served.pid, served.close
        return spoken

    def library(self, peer, name, file):
        return Library(self.program(peer, "python"), name, file, self.folder)

    def capsule_task(self):
        """Built once a run; it takes some seconds."""
        folder = self.folder / "capsule"
        if not (folder / "tasks.wasm").is_file():
            folder.mkdir(exist_ok=True)
            shutil.copy(HERE / "tasks.py", folder)
            path = f"{self.installed / 'capsule' / 'bin'}:{os.environ['PATH']}"
            command = [self.program("capsule", "capsule"), "build", "tasks.py", "--export"]
            ran = subprocess.run(
                command, cwd=folder, env={**self.environment, "PATH": path}, capture_output=True, text=True, timeout=300
            )
            if not (folder / "tasks.wasm").is_file():
                raise Failed(f"capsule build: {(ran.stderr or ran.stdout)[-300:]}")
        return folder / "tasks.wasm"

    def python_component(self):
        """What capsule's task does, as a typed component, by the componentize-py that capsule brings."""
        file = self.folder / "python.wasm"
        if not file.is_file():
            command = [self.program("capsule", "componentize-py"), "--quiet", "--world", "jobs"]
            command += ["--wit-path", str(HERE / "component" / "wit"), "componentize"]
            command += ["--python-path", str(HERE / "python"), "--output", str(file), "app"]
            # No bytecode beside the sources: they would look changed.
            environment = {**self.environment, "PYTHONDONTWRITEBYTECODE": "1"}
            ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
            if ran.returncode:
                raise Failed(f"componentize-py: {(ran.stderr or ran.stdout)[-300:]}")
        return file

    def capsule_exec(self):
        file = self.capsule_task()

        def command(job, text):
            arguments = self.folder / "capsule" / "arguments.json"
            arguments.write_text(json.dumps([job, text]))
            exec_ = [self.program("capsule", "capsule"), "exec", str(file), "--json"]
            return [*exec_, "--args-file", str(arguments)]

        def answer(out):
            told = json.loads(out)
            if not told["success"]:
                raise Failed(str(told["error"])[:200])
            return told["result"]

        return Command(command, stdin=False, cwd=self.folder / "capsule", parse=answer, environment=self.environment)

    def workerd(self):
        port = free_port()
        program = str(self.installed / "node" / "node_modules" / ".bin" / "workerd")
        served = Served([program, "serve", str(HERE / "worker.capnp"), f"--socket-addr=http=127.0.0.1:{port}"], self.environment)
        try:
            answering(port)
        except Failed:
            served.close()
            raise
        connection = Http(port)

        def call(job, text):
            response, body = connection.post(f"/{job}", text, {})
            if response.status != 200:
                raise Failed(f"HTTP {response.status}: {body[:160]!r}")
            return body.decode()

        served.call = call
        return served

    def all(self):
        """Each way of each peer: its name, what is fresh for each call, whether it is given the jobs without an end."""
        ours, installed = "portcullis", pinned()
        python, node = f"python3 {platform.python_version()}", f"node {said('node', '--version')}"
        command, plugin = self.jobs / "command.wasm", self.jobs / "plugin.wasm"
        component = self.jobs / "component.wasm"
        act, capsule = installed["act-cli"], installed["capsule-run"]
        process = lambda *words: lambda: Command(list(words))  # noqa: E731
        return [
            (f"{ours}, HTTP", "sandbox", True, lambda: self.portcullis_http(None)),
            (f"{ours}, HTTP, log relaxed", "sandbox", False, lambda: self.portcullis_http("relaxed")),
            (f"{ours}, MCP over HTTP", "sandbox", False, lambda: self.portcullis_mcp_http(None)),
            (f"{ours}, MCP over stdio", "sandbox", False, lambda: self.portcullis_mcp_stdio(None)),
            (f"{ours}, MCP over stdio, log relaxed", "sandbox", False, lambda: self.portcullis_mcp_stdio("relaxed")),
            (f"{ours} call, a host runs", "process, sandbox", False, lambda: self.portcullis_call(True)),
            (f"{ours} call, no host runs", "process, sandbox", False, lambda: self.portcullis_call(False)),
            (f"{act}, MCP over stdio", "nothing", True, self.act_stdio),
            (f"{act}, MCP over HTTP", "nothing", False, self.act_http),
            (f"{act}, act call", "process, sandbox", False, self.act_call),
            (installed["wasmtime"], "sandbox", True, lambda: self.library("wasmtime", "wasmtime-py", component)),
            (installed["extism"], "sandbox", True, lambda: self.library("extism", "extism", plugin)),
            (f"{installed['extism']}, reused", "nothing", False, lambda: self.library("extism", "extism, reused", plugin)),
            (f"{capsule}, worker", "sandbox", True, lambda: self.library("capsule", "capsule worker", self.capsule_task())),
            (f"{capsule}, capsule exec", "process, sandbox", False, self.capsule_exec),
            (installed["ephemora-cell"], "sandbox", True, lambda: self.library("ephemora", "ephemora-cell", command)),
            (f"{installed['workerd']}, HTTP", "nothing", True, self.workerd),
            (f"{python} -c", "process", True, process(sys.executable, "-c", (HERE / "script.py").read_text())),
            (f"{node} -e", "process", True, process("node", "-e", (HERE / "script.js").read_text())),
            ("a native program", "process", True, process(str(self.jobs / "command"))),
        ]


def pinned():
    """Name and version of each peer, as it was installed."""
    found = {"workerd": json.loads((HERE / "package.json").read_text())["dependencies"]["workerd"]}
    for file in (HERE / "requirements").glob("*.txt"):
        found.update(re.findall(r"^([a-z-]+)==([0-9.]+)", file.read_text(), re.MULTILINE))
    # The one that is measured alone, not the one that another brings along.
    found.update(re.findall(r"^(wasmtime)==([0-9.]+)", (HERE / "requirements/wasmtime.txt").read_text(), re.MULTILINE))
    return {name: f"{'wasmtime-py' if name == 'wasmtime' else name} {version}" for name, version in found.items()}


def said(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=30).stdout.strip()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def answering(port):
    """Waits until somebody listens."""
    end = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise Failed(f"nobody listens at {port}")


def percentile(times, percent):
    return sorted(times)[min(len(times) * percent // 100, len(times) - 1)]


def compare(hosts, seconds, names):
    """Measures each job with each peer, then gives each the jobs without an end."""
    chosen = [one for one in hosts.all() if names is None or re.search(names, one[0])]
    results, runaways, answers = [], {}, {}
    for name, fresh, _, make in chosen:
        row = {"name": name, "fresh": fresh, "jobs": {}}
        results.append(row)
        peer = None
        try:
            peer = make()
            for job, text in TEXTS.items():
                print(f"{name}: {job}", file=sys.stderr)
                try:
                    answer, times = measured(peer, job, text, seconds)
                    if answers.setdefault(job, answer) != answer:
                        raise Failed(f"another answer than the others: {answer[:80]}")
                    p50, p99 = percentile(times, 50), percentile(times, 99)
                    row["jobs"][job] = {"calls": len(times), "p50": p50, "p99": p99}
                # One job that a peer can't do does not end the comparison.
                except Exception as error:  # noqa: BLE001
                    row["jobs"][job] = {"error": f"{type(error).__name__}: {error}"[:200]}
        except Exception as error:  # noqa: BLE001
            row["error"] = f"{type(error).__name__}: {error}"[:300]
        finally:
            if peer:
                peer.close()
    for name, _, given, make in chosen:
        if given:
            runaways[name] = {}
            for job in ["endless", "grow"]:
                print(f"{name}: {job}", file=sys.stderr)
                try:
                    runaways[name][job] = runaway(make, job)
                except Exception as error:  # noqa: BLE001
                    runaways[name][job] = {"error": f"{type(error).__name__}: {error}"[:200]}
    return results, runaways


def in_turns(hosts, seconds):
    """A process for each call, of the same job in Python: ours and capsule's by turns, so that what else the machine
    does falls on both. A row with an aim, or why there is none."""
    text, peers, answers, times = TEXTS["echo"], [], [], ([], [])
    print(f"{TURNS}, and capsule exec, in turns", file=sys.stderr)
    try:
        peers.append(hosts.portcullis_call(False, hosts.python_component()))
        peers.append(hosts.capsule_exec())
        answers = [peer.call("echo", text) for peer in peers]
        if answers[0] != answers[1]:
            raise Failed(f"one answers {answers[0][:50]}, the other {answers[1][:50]}")
        end = time.perf_counter() + 2 * seconds
        while time.perf_counter() < end or len(times[0]) < TURNS_MIN:
            for peer, answer, taken in zip(peers, answers, times, strict=True):
                start = time.perf_counter_ns()
                again = peer.call("echo", text)
                taken.append(time.perf_counter_ns() - start)
                if again != answer:
                    raise Failed(f"first {answer[:50]}, then {again[:50]}")
    # As with single jobs: the rest of the comparison stands without it.
    except Exception as error:  # noqa: BLE001
        return None, f"{type(error).__name__}: {error}"[:300]
    finally:
        for peer in peers:
            peer.close()
    value, floor = (percentile(taken, 50) for taken in times)
    return {
        "name": f"{NAME}/{TURNS}, in turns/echo/p50",
        "value": value,
        "unit": "ns",
        "floor": {"name": f"{NAME}/capsule exec, in turns/echo/p50", "value": floor},
        "ratio": value / floor,
        "aim": {"ratio_at_most": 1.0},
    }, None


def rows(results):
    """The figures in the shape of all benchmarks (`figures/mod.rs`): one for each peer, job and percentile."""
    base = next((row["jobs"] for row in results if row["name"] == BASE), {})
    for row in results:
        for job, figure in row["jobs"].items():
            for part in ["p50", "p99"]:
                if "error" in figure or (part == "p99" and figure["calls"] < P99_CALLS_MIN):
                    continue
                value, floor = figure[part], base.get(job, {}).get(part)
                yield {
                    "name": f"{NAME}/{row['name']}, fresh: {row['fresh']}/{job}/{part}",
                    "value": value,
                    "unit": "ns",
                    "floor": floor and {"name": f"{NAME}/{BASE}/{job}/{part}", "value": floor},
                    "ratio": floor and value / floor,
                    "aim": None,
                }


def failures(results):
    """What a peer did not do, and why."""
    found = {row["name"]: row["error"] for row in results if "error" in row}
    for row in results:
        for job, figure in row["jobs"].items():
            if "error" in figure:
                found[f"{row['name']}: {job}"] = figure["error"]
    return found


def table(failed, runaways):
    """What is no figure, for people."""
    lines = [f"{name} fails: {error[:120]}" for name, error in failed.items()]
    lines += ["", "| given a job without an end | ended | after | memory at most | what its log says last |"]
    lines.append("| --- | --- | --- | --- | --- |")
    for name, jobs in runaways.items():
        for job, told in jobs.items():
            if "error" in told:
                lines.append(f"| {name}: {job} | fails: {told['error'][:80]} | | | |")
                continue
            ended_ = told["said"][:80] if told["ended"] else "no: killed by us"
            log = told["log"].replace("|", "/")[:120] or "nothing"
            lines.append(f"| {name}: {job} | {ended_} | {told['seconds']} s | {told['memory_peak_mib']} MiB | {log} |")
    return "\n".join(lines)


def main():
    """Compares, and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--portcullis", required=True, help="the program")
    parser.add_argument("--jobs", required=True, help="the folder with the built jobs")
    parser.add_argument("--installed", required=True, help="the folder with the peers")
    parser.add_argument("--figures", required=True, help="the file that the figures are appended to")
    parser.add_argument("--seconds", type=float, default=2, help="for each job of each peer")
    parser.add_argument("--only", help="peers whose names fit this expression")
    parser.add_argument("--json", action="store_true", help="what failed and ran away as JSON")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="peers-"))
    try:
        hosts = Hosts(options, folder)
        results, runaways = compare(hosts, options.seconds, options.only)
        turns, why_not = None, None
        if options.only is None or re.search(options.only, TURNS):
            turns, why_not = in_turns(hosts, options.seconds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    with open(options.figures, "a") as file:
        for row in [*rows(results), *([turns] if turns else [])]:
            file.write(json.dumps(row) + "\n")
    failed = failures(results) | ({TURNS: why_not} if why_not else {})
    told = {"failures": failed, "runaways": runaways}
    print(json.dumps(told, indent=1) if options.json else table(failed, runaways))


if __name__ == "__main__":
    main()
