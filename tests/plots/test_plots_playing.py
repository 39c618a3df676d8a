"""Widgets: a reader gets them, an execution from end to end does not."""

import pytest

from cardiov.plots import playing


@pytest.mark.parametrize(("environment", "calls"), [({}, [("draw", {"p": (0, 1)})]), ({"CARDIOV_STATIC": "yes"}, [])])
def test_only_a_reader_gets_a_widget(monkeypatch, environment, calls):
    made = []
    monkeypatch.setattr(playing, "interact", lambda draw, **controls: made.append((draw, controls)))
    monkeypatch.delenv("CARDIOV_STATIC", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert playing.play("draw", p=(0, 1)) is None and made == calls
