"""What a signal does while a run trains, and where it does not."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from tf_multimodal.training.interruption import (
    EXIT_INTERRUPTED,
    Interrupted,
    Interruption,
)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_noted_where_it_is_delayed(number):
    with Interruption() as interruption, interruption.delayed():
        os.kill(os.getpid(), number)
        assert interruption.signal == number


def test_a_signal_ends_what_is_not_delayed():
    with Interruption() as interruption:
        with pytest.raises(Interrupted, match="SIGTERM where no step was under way"):
            os.kill(os.getpid(), signal.SIGTERM)
        assert interruption.signal == signal.SIGTERM


def test_no_except_exception_catches_it():
    assert not issubclass(Interrupted, Exception)


def test_the_former_handlers_come_back():
    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    with Interruption():
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert before == [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]


def test_another_thread_has_no_signals():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def enter():
        with Interruption():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [before]


def test_a_second_signal_ends_the_process_at_once():
    code = (
        "import os, signal\n"
        "from tf_multimodal.training.interruption import Interruption\n"
        "try:\n"
        "    with Interruption() as interruption, interruption.delayed():\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        print('first', flush=True)\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        print('second', flush=True)\n"
        "finally:\n"
        "    print('cleaned up', flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 128 + signal.SIGTERM
    assert done.stdout.split("\n")[-2] == "first"


def test_the_message_says_what_is_kept():
    assert EXIT_INTERRUPTED == 75  # EX_TEMPFAIL
    assert str(Interrupted(signal.SIGINT, 7)) == (
        "Interrupted by SIGINT at step 7; its state is written. The same command "
        "goes on."
    )
    assert "by another worker" in str(Interrupted(None, 7))
