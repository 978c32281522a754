"""Stop signals at moments at which Python drops the error of a signal handler."""

import signal

import pytest

from support.scripts import check_imports

CODE = """
import signal, time, weakref
from deeplab.utils.interrupts import handle_signals

class Node:
    pass

class Dying:
    def __del__(self):
        signal.raise_signal({number})

def dropped(reference):
    signal.raise_signal({number})

def die():
    {moment}
    print("went on")
    time.sleep(20)
    print("was not stopped")

handle_signals()
try:
    die()
except KeyboardInterrupt:
    print("stopped")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "moment", ["Dying()", "node = Node(); reference = weakref.ref(node, dropped); del node"]
)
def test_a_signal_in_a_destructor_or_a_callback_stops_the_program(moment, number):
    printed = check_imports(CODE.format(moment=moment, number=int(number)))
    assert printed.splitlines()[:2] == ["went on", "stopped"]
