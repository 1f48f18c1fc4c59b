"""A pause of Python's search for reference cycles."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def pause_collection() -> Iterator[None]:
    """Stops the search, which a loop over a million rows would start all the time.

    Each search goes through all objects of TensorFlow, and costs more than the rows do.
    Objects without cycles are freed as always.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
