"""Hosts that are libraries of Python, measured within their own process: `library.py NAME FILE`.

Each line of stdin is {"job", "text", "seconds"}; each of stdout has the answer and the nanoseconds of the calls. Whoever
is asked for a job that never ends does not answer, and is killed by who asked.
"""

import asyncio
import json
import sys
import time

CALLS_MAX = 2_000


def wasmtime_fresh(file):
    """A new store and instance for each call, the compiled component kept; nothing is limited unless asked for."""
    from wasmtime import Engine, Store, WasiConfig
    from wasmtime.component import Component, Linker

    engine = Engine()
    component = Component.from_file(engine, file)
    linker = Linker(engine)
    linker.add_wasip2()
    work = component.get_export_index("bench:jobs/work@0.1.0")
    functions = {
        job: component.get_export_index(job, work) for job in ["echo", "hash", "parse", "endless", "grow"]
    }

    def call(job, text):
        store = Store(engine)
        store.set_wasi(WasiConfig())
        instance = linker.instantiate(store, component)
        function = instance.get_func(store, functions[job])
        answer = function(store, text)
        function.post_return(store)
        return answer

    return call


def extism_fresh(file):
    """A new plug-in for each call, of compiled code that is kept."""
    from extism.extism import CompiledPlugin, Plugin

    compiled = CompiledPlugin({"wasm": [{"path": file}]})

    def call(job, text):
        return bytes(Plugin(compiled).call(job, text)).decode()

    return call


def extism_reused(file):
    """One plug-in for all calls: its memory is that of the call before."""
    from extism.extism import CompiledPlugin, Plugin

    plugin = Plugin(CompiledPlugin({"wasm": [{"path": file}]}))
    return lambda job, text: bytes(plugin.call(job, text)).decode()


def capsule_worker(file):
    """A worker process that is kept, a fresh sandbox for each call."""
    import capsule

    loop = asyncio.new_event_loop()
    program = sys.executable.rsplit("/", 1)[0] + "/capsule"

    def call(job, text):
        ran = loop.run_until_complete(capsule.run(file=file, args=[job, text], capsule_path=program))
        if not ran["success"]:
            raise RuntimeError(str(ran["error"]))
        return ran["result"]

    return call


def ephemora(file):
    """Its sandbox within this process; fuel for the larger jobs, all else as it is by default."""
    from ephemora_cell import run_wasm

    def call(job, text):
        ran = run_wasm(file, args=[job], stdin_data=text, max_fuel=None if job in ("endless", "grow") else 10**10)
        if ran.status.name != "SUCCESS":
            raise RuntimeError(f"{ran.status.name}: {ran.stderr[:200]}")
        return ran.stdout

    return call


NAMES = {
    "wasmtime-py": wasmtime_fresh,
    "extism": extism_fresh,
    "extism, reused": extism_reused,
    "capsule worker": capsule_worker,
    "ephemora-cell": ephemora,
}


def main():
    """Answers one line after another."""
    call = NAMES[sys.argv[1]](sys.argv[2])
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        job, text = asked["job"], asked["text"]
        try:
            answer = call(job, text)
            times, end = [], time.perf_counter() + asked["seconds"]
            while len(times) < CALLS_MAX and (time.perf_counter() < end or len(times) < 3) and asked["seconds"]:
                start = time.perf_counter_ns()
                again = call(job, text)
                times.append(time.perf_counter_ns() - start)
                if again != answer:
                    raise RuntimeError(f"first {answer[:50]}, then {again[:50]}")
            told = {"answer": answer, "times": times}
        # Whatever a library raises is its answer.
        except Exception as error:  # noqa: BLE001
            told = {"error": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps(told), flush=True)


main()
