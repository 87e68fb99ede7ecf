"""Many items on any executor: nothing lost, nothing done twice, the rate held, and resumable."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qwen_realtime import Outcome, RateLimit, Speech, synthesize_many, transcribe_many
from qwen_realtime.batch.manifest import Manifest, identity
from qwen_realtime.batch.throttle import Throttle
from qwen_realtime.errors import (
    AuthenticationError,
    ConfigError,
    ConnectionClosed,
    ServerError,
)

from .batch_on_dask import Killer, Recogniser, write_recordings
from .data import base64_of
from .peer import Link, Peer, created

PATIENCE_S = 20.0


@pytest.fixture
def recordings(tmp_path: Path) -> list[str]:
    """Eight recordings."""
    return write_recordings(tmp_path, 8)


@pytest.fixture
def recogniser() -> Iterator[Recogniser]:
    """A service."""
    with Recogniser() as service:
        yield service
    assert service.peer.failures == []


def run(recogniser: Recogniser, sources: Any, **options: Any) -> list[Outcome[Any]]:
    """All outcomes, in the order of the items."""
    outcomes = transcribe_many(sources, url=recogniser.url, api_key="k", **options)
    return sorted(outcomes, key=lambda outcome: outcome.index)


def texts(outcomes: list[Outcome[Any]]) -> list[str]:
    """What was recognised, or the class of the error."""
    return [each.result.text if each.result is not None else type(each.error).__name__ for each in outcomes]


def numbers(count: int) -> list[str]:
    """What the stand-in recognises."""
    return [f"number {number}" for number in range(count)]


class TestThreads:
    """With the thread pool that is the default."""

    def test_every_recording_becomes_one_outcome(self, recogniser: Recogniser, recordings: list[str]) -> None:
        """With its index and source."""
        outcomes = run(recogniser, recordings, language="en")
        assert texts(outcomes) == numbers(8)
        assert [outcome.source for outcome in outcomes] == recordings
        assert sorted(recogniser.completed) == list(range(8))
        assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("qwen-batch")]

    def test_outcomes_come_as_they_are_ready(self, recordings: list[str]) -> None:
        """One that takes long does not hold up the others."""
        gate = threading.Event()
        with Recogniser(lambda number: number or gate.wait(PATIENCE_S)) as service:
            outcomes = transcribe_many(recordings, url=service.url, api_key="k")
            first = [next(outcomes).index for _ in range(7)]
            gate.set()
            assert sorted(first) == list(range(1, 8))
            assert [outcome.index for outcome in outcomes] == [0]

    def test_what_cannot_be_read_is_recorded_and_the_rest_goes_on(
        self, recogniser: Recogniser, recordings: list[str], tmp_path: Path
    ) -> None:
        """A missing file, one that is no sound, and things that are no source at all."""
        (tmp_path / "text.wav").write_text("no sound", encoding="utf-8")
        outcomes = run(recogniser, [tmp_path / "missing.wav", recordings[1], tmp_path / "text.wav", 7, recordings[4]])
        assert texts(outcomes) == ["ConfigError", "number 1", "ConfigError", "ConfigError", "number 4"]
        assert "missing.wav" in str(outcomes[0].error)

    def test_every_kind_of_source_is_taken(self, recogniser: Recogniser, recordings: list[str]) -> None:
        """Also a relative path, and a stream."""
        samples = np.full(1600, 3, dtype=np.int16)
        sources = [
            Path(os.path.relpath(recordings[0])),
            Path(recordings[1]).read_bytes(),
            Speech(b"\x02\0" * 1600, 16000),
            samples,
            memoryview(samples.tobytes()),
            iter([samples[:800], samples[800:]]),
        ]
        assert texts(run(recogniser, iter(sources))) == [*numbers(4), "number 3", "number 3"]

    def test_a_stream_that_fails_is_recorded(self, recogniser: Recogniser, recordings: list[str]) -> None:
        """Its own error is the item's."""

        def broken() -> Iterator[bytes]:
            yield bytes(320)
            raise LookupError("no more")

        assert texts(run(recogniser, [broken(), recordings[1]])) == ["LookupError", "number 1"]

    def test_sources_are_drawn_as_they_are_needed(self, recogniser: Recogniser, recordings: list[str]) -> None:
        """No more of them than there are workers wait for an outcome."""
        drawn: list[int] = []

        def sources() -> Iterator[str]:
            for number, path in enumerate(recordings):
                drawn.append(number)
                yield path

        outcomes = transcribe_many(sources(), url=recogniser.url, api_key="k", in_flight=2)
        assert drawn == []
        next(outcomes)
        assert len(drawn) <= 4
        assert len(list(outcomes)) == 7

    def test_leaving_the_loop_ends_the_run(self, recogniser: Recogniser, recordings: list[str]) -> None:
        """What has begun ends first, what has not is never begun."""
        outcomes = transcribe_many(recordings, url=recogniser.url, api_key="k", in_flight=2)
        next(outcomes)
        outcomes.close()  # type: ignore[attr-defined]  # it is a generator
        assert len(recogniser.begun) <= 4
        assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("qwen-batch")]

    def test_leaving_the_loop_closes_what_nobody_waits_for(
        self, peers: Callable[..., Peer], recordings: list[str]
    ) -> None:
        """A session that hangs does not hold up whoever has broken off."""

        def hang(link: Link) -> None:
            link.accept()
            link.send(created("qwen3-asr-flash-realtime"))
            link.read_on()

        sources = ["nowhere.wav", recordings[0]]
        outcomes = transcribe_many(sources, url=peers(hang).url, api_key="k", close_timeout=0.5, in_flight=2)
        assert isinstance(next(outcomes).error, ConfigError)
        closing = threading.Thread(target=outcomes.close)  # type: ignore[attr-defined]  # it is a generator
        closing.start()
        closing.join(PATIENCE_S)
        assert not closing.is_alive()

    def test_the_key_is_asked_for_each_job(self, recogniser: Recogniser, recordings: list[str]) -> None:
        """Here, and not where the job runs."""
        asked: list[str] = []

        def key() -> str:
            asked.append(threading.current_thread().name)
            return "k"

        outcomes = transcribe_many(recordings, url=recogniser.url, api_key=key)
        assert len(list(outcomes)) == 8
        assert asked == [threading.current_thread().name] * 8

    def test_progress_is_told(self, recogniser: Recogniser, recordings: list[str]) -> None:
        """After each item, with the total where it is known."""
        told: list[tuple[int, int | None]] = []
        run(recogniser, recordings, progress=lambda *args: told.append(args))
        run(recogniser, iter(recordings[:1]), progress=lambda *args: told.append(args))
        assert told == [*((done, 8) for done in range(1, 9)), (1, None)]

    def test_a_progress_bar_can_be_had(
        self, recogniser: Recogniser, recordings: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Drawn by rich."""
        run(recogniser, recordings, progress=True)
        assert "100%" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            ({"sources": "meeting.wav"}, "an iterable of items, not str"),
            ({"sources": 7}, "not int"),
            ({"executor": 3}, "no executor"),
            ({"rate_limit": RateLimit(0)}, "rate limit"),
            ({"rate_limit": RateLimit(1, -1)}, "rate limit"),
            ({"retries": -1}, "retries"),
            ({"in_flight": 0}, "in_flight"),
            ({"colour": "red"}, "no setting 'colour'"),
            ({"api_key": ""}, "no API key"),
            ({"trace": "wire.jsonl"}, "trace"),
        ],
    )
    def test_what_cannot_be_is_refused_before_the_first_item(self, options: dict[str, Any], told: str) -> None:
        """When the function is called, not at the first outcome."""
        given = {"sources": [], "api_key": "k", **options}
        with pytest.raises(ConfigError, match=told):
            transcribe_many(given.pop("sources"), **given)

    def test_a_progress_bar_without_rich_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """With what to install."""
        monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
        with pytest.raises(ConfigError, match="pip install rich"):
            transcribe_many([], api_key="k", progress=True)


class TestThrottle:
    """When the next job may go, with a clock of our own."""

    def test_jobs_are_spread_evenly(self) -> None:
        """Sixty in a minute are one each second."""
        now = [100.0]
        throttle = Throttle(RateLimit(60), lambda: now[0])
        gone = []
        for _ in range(61):
            now[0] += throttle.left
            gone.append(now[0])
            throttle.handed_out()
        assert gone == [100.0 + second for second in range(61)]

    def test_a_little_lateness_is_made_up_for_and_a_lot_is_not(self) -> None:
        """So the rate is reached, and never exceeded."""
        now = [0.0]
        throttle = Throttle(RateLimit(10, 1.0), lambda: now[0])
        throttle.handed_out()
        now[0] = 0.14
        throttle.handed_out()
        assert throttle.left == pytest.approx(0.06)
        now[0] = 5.0
        throttle.handed_out()
        assert throttle.left == pytest.approx(0.1)

    def test_after_a_pause_the_workers_go_one_by_one(self) -> None:
        """Spread over as much time as the pause took."""
        now = [0.0]
        throttle = Throttle(None, lambda: now[0])
        throttle.handed_out()
        assert throttle.left == 0.0
        throttle.pause(2.0, 4)
        gone = []
        for _ in range(6):
            now[0] += throttle.left
            gone.append(now[0])
            throttle.handed_out()
        assert gone == [2.0, 2.5, 3.0, 3.5, 4.0, 4.0]


class TestRate:
    """Over all workers."""

    def test_the_limit_holds_over_all_workers(self, recogniser: Recogniser, recordings: list[str]) -> None:
        """Also at the beginning: eight workers do not begin at once."""
        assert texts(run(recogniser, recordings * 2, rate_limit=RateLimit(20, 1.0))) == numbers(8) * 2
        began = recogniser.begun
        assert (len(began) - 1) / (began[-1] - began[0]) <= 20 * 1.05

    def test_a_refusal_makes_everybody_wait(self, recordings: list[str]) -> None:
        """As long as the server says; the job that was refused is done after that."""
        with Recogniser(refusal=lambda connection: 0.4 if connection == 3 else None) as service:
            assert texts(run(service, recordings, in_flight=2)) == numbers(8)
            (refused,) = service.refused
            after = [when for when in service.begun if when > refused + 0.05]  # the other worker's may be on its way
            assert len(after) >= 4
            assert min(after) >= refused + 0.39
        assert sorted(service.completed) == list(range(8))

    def test_refusals_count_only_where_nobody_gets_through(self, recordings: list[str]) -> None:
        """A server that lets in one of three is worked with, and so is a full one; one that lets in nobody is not."""
        with Recogniser(refusal=lambda connection: 0.01 if connection % 3 else None) as service:
            assert texts(run(service, recordings, in_flight=3, retries=2)) == numbers(8)

        refused = threading.Semaphore(0)

        def long_session(number: int) -> None:
            if number == 0:
                assert all(refused.acquire(timeout=PATIENCE_S) for _ in range(6))

        def full(connection: int) -> float | None:
            if not 2 <= connection <= 7:
                return None
            refused.release()
            return 0.01

        with Recogniser(long_session, full) as service:
            assert texts(run(service, recordings, in_flight=2, retries=2)) == numbers(8)

        with Recogniser(refusal=lambda _: 0.01) as service:
            outcomes = run(service, recordings[:2], retries=2, in_flight=1)
            assert texts(outcomes) == ["RateLimitError"] * 2
            assert len(service.refused) == 6

    def test_an_error_event_about_the_rate_is_a_refusal_too(self, peers: Callable[..., Peer]) -> None:
        """The service has two ways to say it; this one does not say how long to wait."""
        error = {"code": "Throttling.RateQuota", "message": "Requests rate limit exceeded, please try again later."}

        def throttled(link: Link) -> None:
            link.accept()
            link.send(created("qwen3-asr-flash-realtime"))
            link.send("error", error=error)
            link.read_on()
            link.close()

        peer = peers(throttled)
        (outcome,) = transcribe_many([np.zeros(160, np.int16)], url=peer.url, api_key="k", retries=0)
        assert isinstance(outcome.error, (ServerError, ConnectionClosed))


class TestRetries:
    """What may pass is tried again, what may not is not."""

    def test_a_lost_connection_is_tried_again(self, recordings: list[str]) -> None:
        """From the recording's beginning; and also a stream, which is kept."""
        cut: list[int] = []

        def hang_up_once(number: int) -> None:
            if number not in cut:
                cut.append(number)
                raise ConnectionResetError

        with Recogniser(hang_up_once) as service:
            sources = [recordings[0], iter([np.full(1600, 5, np.int16)])]
            assert texts(run(service, sources)) == ["number 0", "number 5"]
            assert len(service.begun) == 4

    def test_a_connection_that_is_always_lost_is_given_up(self, recordings: list[str]) -> None:
        """After so many tries more; the others go on."""

        def hang_up(number: int) -> None:
            if number == 1:
                raise ConnectionResetError

        with Recogniser(hang_up) as service:
            assert texts(run(service, recordings[:3], retries=2)) == ["number 0", "ConnectionClosed", "number 2"]
            assert len(service.begun) == 5

    def test_a_wrong_key_is_not_tried_again(self, peers: Callable[..., Peer], recordings: list[str]) -> None:
        """Each item has the error."""
        links: list[Link] = []

        def refuse(link: Link) -> None:
            links.append(link)
            link.answer("401 Unauthorized")

        peer = peers(refuse)
        outcomes = list(transcribe_many(recordings, url=peer.url, api_key="wrong"))
        assert [type(outcome.error) for outcome in outcomes] == [AuthenticationError] * 8
        assert len(links) == 8


class Losing(Executor):
    """An executor that loses some jobs: their futures fail, or are cancelled, and nothing is done."""

    def __init__(self, lose: Callable[[int, int], BaseException | None]) -> None:
        self._threads = ThreadPoolExecutor(2)
        self._lose = lose
        self.tickets: list[str] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run a job, or lose it."""
        ticket = args[-1]
        index = int(ticket.split("-")[1])
        self.tickets.append(ticket)
        failure = self._lose(index, len(self.tickets))
        if failure is None:
            return self._threads.submit(fn, *args, **kwargs)
        future: Future[Any] = Future()
        if isinstance(failure, CancelledError):
            future.cancel()
            future.set_running_or_notify_cancel()
        else:
            future.set_exception(failure)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads."""
        self._threads.shutdown(wait, cancel_futures=cancel_futures)


class Poison:
    """A source that ends the process that it is sent to."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (1,)


class TestLostWorkers:
    """What an executor loses is handed out again."""

    @pytest.mark.parametrize("failure", [RuntimeError("worker lost"), CancelledError()])
    def test_a_lost_job_is_done_once(
        self, recogniser: Recogniser, recordings: list[str], failure: BaseException
    ) -> None:
        """And no two jobs are the same to an executor that remembers."""
        with Losing(lambda _, submission: failure if submission % 3 == 1 else None) as executor:
            assert texts(run(recogniser, recordings, executor=executor)) == numbers(8)
            assert len(set(executor.tickets)) == len(executor.tickets) > 8
        assert sorted(recogniser.completed) == list(range(8))

    def test_a_job_that_is_always_lost_is_given_up(self, recogniser: Recogniser, recordings: list[str]) -> None:
        """With what the executor said."""
        lost = MemoryError("killed")
        with Losing(lambda index, _: lost if index == 2 else None) as executor:
            outcomes = run(recogniser, recordings[:4], executor=executor, retries=2)
        assert texts(outcomes) == ["number 0", "number 1", "MemoryError", "number 3"]
        assert outcomes[2].error is lost
        assert len(executor.tickets) == 6

    def test_an_executor_that_refuses_everything_is_told_of(self, recordings: list[str]) -> None:
        """Each item has the error, and nothing hangs."""
        executor = ThreadPoolExecutor(1)
        executor.shutdown()
        outcomes = transcribe_many(recordings, executor=executor, url="ws://127.0.0.1:9/", api_key="k")
        assert [type(outcome.error) for outcome in outcomes] == [RuntimeError] * 8

    def test_a_process_pool_loses_a_worker(self, tmp_path: Path) -> None:
        """The pool is broken then; another takes its place, and every recording has one outcome.

        What the other worker had just done, when the pool took it along, is done again. A callable key is asked here,
        so that it need not be sent to a process.
        """
        recordings = write_recordings(tmp_path, 12)
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
            killer = Killer(lambda: next(iter(pool._processes)), 4)
            with Recogniser(killer) as service:
                outcomes = transcribe_many(recordings, executor=pool, url=service.url, api_key=lambda: "k")
                assert texts(sorted(outcomes, key=lambda each: each.index)) == numbers(12)
        assert killer.done.is_set()
        assert set(service.completed) == set(range(12))
        assert len(service.completed) <= 13
        assert len(service.begun) > 12

    def test_a_recording_that_kills_its_workers_takes_no_other_along(
        self, recogniser: Recogniser, recordings: list[str]
    ) -> None:
        """From its third try on it runs alone, so that the others outlive it."""
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
            sources = [recordings[0], Poison(), *recordings[1:4]]
            outcomes = run(recogniser, sources, executor=pool, retries=2)
        assert texts(outcomes) == ["number 0", "BrokenProcessPool", "number 1", "number 2", "number 3"]

    def test_what_cannot_be_sent_to_a_process_is_recorded(self, recogniser: Recogniser, recordings: list[str]) -> None:
        """The rest goes on."""
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            outcomes = run(recogniser, [threading.Lock(), recordings[1]], executor=pool, retries=0)
        assert texts(outcomes) == ["TypeError", "number 1"]

    def test_dask_loses_a_worker(self) -> None:
        """Two worker processes, forty recordings: see there for what is checked."""
        pytest.importorskip("distributed")
        command = [sys.executable, "-m", "tests.batch_on_dask", "--stand-in", "--recordings", "40"]
        done = subprocess.run(
            command, cwd=Path(__file__).parent.parent, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        figures = json.loads(done.stdout.splitlines()[-1])
        assert figures["completed"] == 40
        assert figures["sessions"] > 40
        assert figures["rate_per_s"] <= 1.05 * figures["rate_limit_per_s"]


JOB = {"kind": "transcribe", "model": "m", "session": {}, "items": ["a", "b", "c"]}


class TestManifest:
    """How far a run has come."""

    def test_a_run_goes_on_where_it_was_left(
        self, recogniser: Recogniser, recordings: list[str], tmp_path: Path
    ) -> None:
        """What was done is not done again, but is yielded again, with its result."""
        options = {"manifest": tmp_path / "run.jsonl", "url": recogniser.url, "language": "en"}
        outcomes = transcribe_many(recordings, api_key="k", in_flight=1, **options)
        first = [next(outcomes) for _ in range(3)]
        outcomes.close()  # type: ignore[attr-defined]  # it is a generator
        done = len(recogniser.completed)
        assert done in (3, 4)

        again = sorted(transcribe_many(recordings, api_key="other", **options), key=lambda each: each.index)
        assert texts(again) == numbers(8)
        assert again[:3] == first
        assert [again[0].result, again[0].source] == [first[0].result, recordings[0]]
        assert len(recogniser.completed) <= 9  # the fourth was in progress, and nobody took its result
        assert list(transcribe_many(recordings, api_key="k", **options)) == again
        assert len(recogniser.completed) <= 9

    def test_a_line_is_there_before_its_outcome(
        self, recogniser: Recogniser, recordings: list[str], tmp_path: Path
    ) -> None:
        """A crash at any time loses nothing that the caller has seen."""
        path = tmp_path / "run.jsonl"
        outcomes = transcribe_many(recordings, manifest=path, url=recogniser.url, api_key="secret")
        for count, _ in enumerate(outcomes, start=1):
            assert len(path.read_text(encoding="utf-8").splitlines()) >= 1 + count
        header, *entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        assert (header["kind"], header["items"]) == ("transcribe", 8)
        assert {entry["source"]: entry["result"]["text"] for entry in entries} == dict(
            zip(recordings, numbers(8), strict=True)
        )
        assert "secret" not in path.read_text(encoding="utf-8")

    def test_what_failed_is_tried_again(self, recogniser: Recogniser, recordings: list[str], tmp_path: Path) -> None:
        """And recorded, each time."""
        late = tmp_path / "late.wav"
        options = {"manifest": tmp_path / "run.jsonl"}
        assert texts(run(recogniser, [recordings[1], late], **options)) == ["number 1", "ConfigError"]
        late.write_bytes(Path(recordings[5]).read_bytes())
        assert texts(run(recogniser, [recordings[1], late], **options)) == ["number 1", "number 5"]
        assert [number for number in recogniser.completed if number >= 0] == [1, 5]
        lines = [json.loads(line) for line in (tmp_path / "run.jsonl").read_text(encoding="utf-8").splitlines()]
        assert [line["error"].split(":")[0] for line in lines if "error" in line] == ["ConfigError"]

    @pytest.mark.parametrize("kept", [1, 20, -1])
    def test_a_half_written_last_line_is_tolerated(self, tmp_path: Path, kept: int) -> None:
        """Of an item, which is done again, or of the header."""
        path = tmp_path / "run.jsonl"
        manifest = Manifest(path, JOB)
        manifest.record(0, "a", {"text": "one"}, None)
        manifest.record(1, "b", {"text": "two"}, None)
        manifest.close()
        whole = path.read_bytes()
        header = whole.index(b"\n") + 1
        last = whole.rindex(b"\n", 0, -1) + 1
        path.write_bytes(whole[:last] + whole[last:][:kept])
        manifest = Manifest(path, JOB)
        assert manifest.done == {0: {"text": "one"}}
        manifest.record(1, "b", {"text": "two"}, None)
        manifest.close()
        assert path.read_bytes() == whole

        path.write_bytes(whole[:header][:kept])
        manifest = Manifest(path, JOB)
        assert manifest.done == {}
        manifest.record(0, "a", {"text": "one"}, None)
        manifest.close()
        assert path.read_bytes() == whole[:last]

    @pytest.mark.parametrize(
        "change",
        [{"kind": "synthesize"}, {"model": "n"}, {"session": {"voice": "x"}}, {"items": ["a", "b"]}, {"items": "abd"}],
    )
    def test_a_manifest_of_another_run_is_refused(self, tmp_path: Path, change: dict[str, Any]) -> None:
        """Other items, or other settings."""
        path = tmp_path / "run.jsonl"
        manifest = Manifest(path, JOB)
        manifest.record(0, "a", {"text": "one"}, None)
        manifest.close()
        with pytest.raises(ConfigError, match="another run"):
            Manifest(path, {**JOB, **change})

    def test_a_run_with_another_manifest_is_refused_at_once(
        self, recogniser: Recogniser, recordings: list[str], tmp_path: Path
    ) -> None:
        """Before anything is done, and the file stays as it is."""
        path = tmp_path / "run.jsonl"
        run(recogniser, recordings[:2], manifest=path)
        before = path.read_bytes()
        for sources, options in ((recordings, {}), (recordings[:2], {"language": "de"})):
            with pytest.raises(ConfigError, match="another run"):
                transcribe_many(sources, manifest=path, api_key="k", url=recogniser.url, **options)
        assert path.read_bytes() == before

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            ("some notes\nof mine\n", "line 1 of the manifest .* is damaged"),
            ("{}\n", "is not a manifest"),
            ("[]\n", "damaged"),
            ("not even a line", "is not a manifest"),
        ],
    )
    def test_a_file_that_is_no_manifest_is_refused(self, tmp_path: Path, content: str, told: str) -> None:
        """And not overwritten."""
        path = tmp_path / "notes.txt"
        path.write_text(content, encoding="utf-8")
        with pytest.raises(ConfigError, match=told):
            Manifest(path, JOB)
        assert path.read_text(encoding="utf-8") == content

    def test_a_damaged_line_is_told(self, tmp_path: Path) -> None:
        """It is not at the end, so no crash has left it."""
        path = tmp_path / "run.jsonl"
        manifest = Manifest(path, JOB)
        manifest.record(0, "a", {}, None)
        manifest.close()
        path.write_bytes(path.read_bytes() + b'{"index": \n')
        with pytest.raises(ConfigError, match="line 3"):
            Manifest(path, JOB)
        with pytest.raises(ConfigError, match="cannot be read"):
            Manifest(tmp_path, JOB)

    def test_items_are_told_apart(self) -> None:
        """By name, or by what is in them."""
        samples = np.arange(8, dtype=np.int16)
        same = [identity(each) for each in (samples, samples.tobytes(), bytearray(samples.tobytes()))]
        assert len(set(same)) == 1
        assert identity(samples[::2]) != identity(samples[:4])
        assert identity(Speech(samples.tobytes(), 8000)) == same[0]
        assert identity(Path("a.wav")) == identity("a.wav") == "a.wav"
        with pytest.raises(ConfigError, match="streams"):
            identity(iter([samples]))


class TestSynthesis:
    """``synthesize_many``."""

    @pytest.fixture
    def speaker(self, peers: Callable[..., Peer]) -> Peer:
        """A service that says of each text how long it is."""
        return peers(_speak)

    def test_texts_become_speech_and_files(self, speaker: Peer, tmp_path: Path) -> None:
        """Numbered, in a folder that is made."""
        out = tmp_path / "new" / "speech"
        told: list[int] = []
        outcomes = synthesize_many(
            ["One", " ", "Three."],
            voice="Ethan",
            out_dir=out,
            url=speaker.url,
            api_key="k",
            progress=lambda done, _: told.append(done),
        )
        first, second, third = sorted(outcomes, key=lambda each: each.index)
        assert first.result is not None
        assert third.result is not None
        assert (first.result.text, len(first.result.pcm), len(third.result.pcm)) == ("One", 6, 12)
        assert isinstance(second.error, ConfigError)
        assert sorted(os.listdir(out)) == ["00000.wav", "00002.wav"]
        assert (out / "00002.wav").read_bytes() == third.result.wav()
        assert told == [1, 2, 3]

    def test_a_run_goes_on_and_makes_lost_files_anew(self, speaker: Peer, tmp_path: Path) -> None:
        """What is still there is read."""
        options: dict[str, Any] = {"out_dir": tmp_path / "out", "manifest": tmp_path / "run.jsonl"}
        words = ["One", "Four", "Three"]
        first = sorted(synthesize_many(words, url=speaker.url, api_key="k", **options), key=lambda each: each.index)
        (tmp_path / "out" / "00001.wav").unlink()
        again = sorted(synthesize_many(words, url=speaker.url, api_key="k", **options), key=lambda each: each.index)
        assert len(speaker._links) == 4
        for one, other in zip(first, again, strict=True):
            assert one.result is not None
            assert other.result is not None
            assert (one.result.pcm, one.result.text) == (other.result.pcm, other.result.text)
            assert one.result.usage == other.result.usage
        assert sorted(os.listdir(tmp_path / "out")) == ["00000.wav", "00001.wav", "00002.wav"]

    def test_a_manifest_needs_a_folder(self, tmp_path: Path) -> None:
        """Speech is not kept in it."""
        with pytest.raises(ConfigError, match="out_dir"):
            synthesize_many(["One"], manifest=tmp_path / "run.jsonl", api_key="k")


def _speak(link: Link) -> None:
    link.accept()
    link.send(created())
    session, text = dict(created()["session"]), ""
    with contextlib.suppress(ConnectionError):
        while True:
            received = link.receive()
            if received.opcode != 0x1:
                break
            message = received.message
            if message["type"] == "session.update":
                session.update(message["session"])
                link.send("session.updated", session=session)
            text += message.get("text", "")
            if message["type"] == "session.finish":
                link.send("response.created", response={"id": "r"})
                link.send("response.audio.delta", response_id="r", delta=base64_of(b"ab" * len(text)))
                link.send("response.done", response={"id": "r", "usage": {"characters": len(text)}})
                link.send("session.finished")
        link.close()
