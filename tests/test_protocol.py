"""The session as a table."""

from __future__ import annotations

from typing import Any

import pytest

from qwen_realtime import events as ev
from qwen_realtime.protocol import CLIENT_EVENTS_OF, CONTENT, TRANSITIONS, Family, Phase, SessionState

CREATED = ev.SessionCreated(session={"id": "sess_1", "voice": "Tina", "turn_detection": {"type": "server_vad"}})


def _state(family: Family = Family.OMNI, *more: ev.Event) -> SessionState:
    state = SessionState(family)
    for event in (CREATED, *more):
        state.advance(event)
    return state


def _response(kind: type[Any], name: str = "resp_1") -> ev.Event:
    made: ev.Event = kind(response=ev.Response(id=name))
    return made


def test_a_session_goes_through_its_phases() -> None:
    """Created, finish, finished."""
    state = SessionState(Family.TTS)
    assert state.phase is Phase.AWAITING_SESSION
    for event, phase in (
        (CREATED, Phase.READY),
        (ev.SessionUpdated(session={"id": "sess_1", "voice": "Cherry"}), Phase.READY),
        (ev.SessionFinish(), Phase.FINISHING),
        (ev.SessionFinished(), Phase.FINISHED),
        (CREATED, Phase.FINISHED),
    ):
        state.advance(event)
        assert state.phase is phase


def test_every_row_of_the_table_is_followed() -> None:
    """And an event without a row changes nothing."""
    for phase in Phase:
        kinds: list[type[ev.Event]] = [*(row[1] for row in TRANSITIONS), ev.Error, ev.InputTextBufferCleared]
        for kind in kinds:
            state = SessionState(Family.TTS)
            state.phase = phase
            state.advance(kind())
            assert state.phase is TRANSITIONS.get((phase, kind), phase)


def test_the_session_is_what_the_server_last_confirmed() -> None:
    """An id survives an echo without one."""
    state = _state(Family.TTS, ev.SessionUpdated(session={"voice": "Cherry"}))
    assert (state.session, state.session_id) == ({"voice": "Cherry"}, "sess_1")


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("kind", ev.CLIENT_EVENTS.values(), ids=ev.CLIENT_EVENTS)
def test_a_family_takes_its_own_client_events_when_it_is_ready(family: Family, kind: type[ev.ClientEvent]) -> None:
    """And none before ``session.created`` or after ``session.finish``."""
    mine = kind in CLIENT_EVENTS_OF[family]
    ready = _state(family)
    ready.audio_started = True
    assert bool(ready.refusal(kind)) is not mine
    assert SessionState(family).refusal(kind)
    assert _state(family, ev.SessionFinish()).refusal(kind)


@pytest.mark.parametrize("family", Family)
def test_settings_are_fixed_once_input_began_but_for_omni(family: Family) -> None:
    """The service closes the connection over it."""
    given: ev.ClientEvent = ev.InputTextBufferAppend() if family is Family.TTS else ev.InputAudioBufferAppend()
    refusal = _state(family, given).refusal(ev.SessionUpdate)
    assert ("already started" in refusal) is (family is not Family.OMNI)


def test_an_image_needs_audio_before_it() -> None:
    """The service says so with an error."""
    assert "before append audio" in _state().refusal(ev.InputImageBufferAppend)
    assert not _state(Family.OMNI, ev.InputAudioBufferAppend()).refusal(ev.InputImageBufferAppend)
    short = _state()
    short.input_began(audio=True)
    assert not short.refusal(ev.InputImageBufferAppend)


class TestTheResponseInProgress:
    """When there is something to cancel, and something to wait for."""

    def test_it_lasts_from_created_to_done(self) -> None:
        """Of the same id."""
        state = _state(Family.OMNI, _response(ev.ResponseCreated))
        assert (state.response_id, state.response_active) == ("resp_1", True)
        state.advance(_response(ev.ResponseDone, "resp_0"))
        assert state.response_active, "another response's end"
        state.advance(_response(ev.ResponseDone))
        assert not state.response_active

    @pytest.mark.parametrize(
        "stop", [ev.ResponseCancel(), ev.InputAudioBufferSpeechStarted()], ids=["cancel", "speech"]
    )
    def test_a_stopped_one_ends_with_its_item(self, stop: ev.Event) -> None:
        """After a cancel or new speech no ``response.done`` may come."""
        state = _state(Family.OMNI, _response(ev.ResponseCreated))
        state.advance(ev.ResponseOutputItemDone(response_id="resp_1"))
        assert state.response_active, "an item's end is not the response's"
        state.advance(stop)
        state.advance(ev.ResponseOutputItemDone(response_id="resp_0"))
        assert state.response_active, "another response's item"
        state.advance(ev.ResponseOutputItemDone(response_id="resp_1"))
        assert not state.response_active

    def test_a_new_one_is_not_ended_by_the_stop_of_the_old(self) -> None:
        """A cancel counts for the response that it found."""
        state = _state(Family.OMNI, _response(ev.ResponseCreated), ev.ResponseCancel())
        state.advance(_response(ev.ResponseCreated, "resp_2"))
        state.advance(ev.ResponseOutputItemDone(response_id="resp_2"))
        assert state.response_id == "resp_2"

    def test_the_end_of_the_session_ends_it(self) -> None:
        """Nothing is in progress after ``session.finished``."""
        state = _state(Family.TTS, _response(ev.ResponseCreated), ev.SessionFinish(), ev.SessionFinished())
        assert not state.response_active

    def test_a_reply_is_owed_from_the_asking_on(self) -> None:
        """By ``response.create``, or by voice activity detection that closed an utterance; an error cancels it."""
        committed = ev.InputAudioBufferCommitted()
        assert not _state().owes_reply
        assert _state(Family.OMNI, ev.ResponseCreate()).owes_reply
        assert not _state(Family.OMNI, ev.ResponseCreate(), ev.Error()).owes_reply
        assert _state(Family.OMNI, committed).owes_reply
        assert not _state(Family.OMNI, ev.SessionUpdated(session={"turn_detection": None}), committed).owes_reply
        assert _state(Family.LIVE_TRANSLATE, ev.SessionUpdated(session={"turn_detection": None}), committed).owes_reply
        assert not _state(Family.ASR, committed).owes_reply
        answered = _state(Family.OMNI, committed, _response(ev.ResponseCreated))
        assert answered.owes_reply
        answered.advance(_response(ev.ResponseDone))
        assert not answered.owes_reply


@pytest.mark.parametrize("kind", sorted(CONTENT, key=repr), ids=repr)
def test_content_moves_nothing(kind: type[ev.Event]) -> None:
    """So the receiving thread need not take the lock for it."""
    state = _state(Family.OMNI, _response(ev.ResponseCreated), ev.ResponseCancel())
    before = dict(vars(state))
    state.advance(kind())
    assert vars(state) == before
