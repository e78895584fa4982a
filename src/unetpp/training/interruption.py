"""A run that someone asks to end."""

import signal
import threading
from contextlib import contextmanager
from typing import Any


@contextmanager
def interruptible():
    """Gives a function that tells whether SIGINT or SIGTERM came; a second one is raised as ever."""
    asked = threading.Event()
    former: dict[int, Any] = {}

    def handle(number, frame):
        asked.set()
        signal.signal(number, former[number])

    main = threading.current_thread() is threading.main_thread()
    for number in (signal.SIGINT, signal.SIGTERM) if main else ():
        former[number] = signal.signal(number, handle)
    try:
        yield asked.is_set
    finally:
        for which, handler in former.items():
            signal.signal(which, handler)
