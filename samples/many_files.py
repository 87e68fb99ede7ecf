"""Many recordings at once, on several processes or machines: python many_files.py [recording.wav ...].

With dask.distributed installed (pip install distributed) this uses a cluster of two worker processes on this machine;
Client("tcp://scheduler:8786") in its place uses yours. Any other concurrent.futures.Executor will do as well.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from where import human_recordings, service

from qwen_realtime import RateLimit, transcribe_many


@contextmanager
def workers() -> Iterator[Executor]:
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError:
        with ThreadPoolExecutor(4) as pool:
            yield pool
    else:
        # a lost worker's jobs come back to us and wait their turn, where Dask would run them at once
        dask.config.set({"distributed.scheduler.allowed-failures": 0})
        with (
            LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address=":0") as cluster,
            Client(cluster, set_as_default=False) as client,
        ):
            try:
                yield client.get_executor()
            except KeyboardInterrupt:  # Dask would give its jobs four seconds; its workers end with us
                os._exit(130)


def main() -> None:
    with service() as where, tempfile.TemporaryDirectory() as folder, workers() as executor:
        files = sys.argv[1:] or [path for path, _ in human_recordings()]
        done = 0
        for outcome in transcribe_many(
            files,
            executor=executor,
            rate_limit=RateLimit(120, per_s=60),  # in all
            manifest=Path(folder) / "run.jsonl",  # keep it elsewhere, and the next run goes on where this one ended
            language="en",
            **where,
        ):
            done += outcome.error is None
            print(f"{Path(outcome.source).name}: {outcome.error or outcome.result.text}")
        print(f"{done} of {len(files)} transcribed on {type(executor).__name__}")


if __name__ == "__main__":
    main()
