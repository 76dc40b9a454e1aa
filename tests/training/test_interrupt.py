import contextlib
import signal
import threading

import pytest

from patchseg.training.interrupt import Interrupt

signals = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


@signals
def test_the_first_signal_is_noted_and_the_second_stops(number):
    with Interrupt() as interrupt:
        assert not interrupt.asked
        signal.raise_signal(number)
        assert interrupt.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)


@signals
def test_handlers_are_as_before_even_after_an_error(number):
    before = signal.getsignal(number)
    with contextlib.suppress(ZeroDivisionError), Interrupt():
        assert signal.getsignal(number) is not before
        raise ZeroDivisionError
    assert signal.getsignal(number) is before


def test_in_a_thread_signals_are_left_to_the_main_one():
    found = []

    def work():
        with Interrupt() as interrupt:
            found.append((interrupt.asked, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(False, signal.getsignal(signal.SIGINT))]
