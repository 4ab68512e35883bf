"""The one error that a bad input gets."""

from __future__ import annotations

from collections.abc import Callable

import pytest


def refused(call: Callable[[], None]) -> str:
    """The one message with which a command stops."""
    with pytest.raises(SystemExit) as stopped:
        call()
    assert isinstance(stopped.value.code, str), "it ended without a message"
    return stopped.value.code
