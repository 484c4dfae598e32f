"""The network address that was judged is the one connected to, and a request that nobody wants any more ends."""

from __future__ import annotations

import ipaddress
import socket
import threading

import httpcore2
import pytest

from vitrail.data.fetching.addresses import Networks
from vitrail.data.fetching.connecting import CheckedBackend, Deadline
from vitrail.data.fetching.failures import Refused


def deadline(seconds=60.0, **more):
    found = Deadline(**more)
    found.begin(seconds)
    return found


def test_a_name_is_looked_up_once_and_the_number_that_was_checked_is_connected_to():
    """What the name leads to at a second look-up (rebinding) is of no interest."""
    answers = [["10.0.0.1", "93.184.216.34"], ["127.0.0.1"]]
    backend = CheckedBackend(
        Networks(), deadline(), lambda host, port: [ipaddress.ip_address(one) for one in answers.pop(0)]
    )
    connected = []

    class Sockets:
        def connect_tcp(self, host, port, *_):
            connected.append((host, port))
            return httpcore2.NetworkStream()

    backend._sockets = Sockets()
    backend.connect_tcp("rebinding.example", 80)
    assert connected == [("93.184.216.34", 80)] and len(answers) == 1
    with pytest.raises(Refused, match=r"rebinding\.example is 127\.0\.0\.1"):
        backend.connect_tcp("rebinding.example", 80)
    assert len(connected) == 1


def test_time_is_up_once_and_for_all_when_somebody_says_so():
    now = [5.0]
    found = deadline(2.0, clock=lambda: now[0])
    now[0] = 6.5
    assert found.left() == 0.5 and found.left(0.25) == 0.25
    now[0] = 7.0
    with pytest.raises(httpcore2.ReadTimeout, match="time for this request is up"):
        found.left()
    found.begin(9.0)
    assert found.left() == 9.0
    found.stop()
    found.begin(9.0)
    with pytest.raises(httpcore2.ReadTimeout, match="nobody waits"):
        found.left()


def test_a_read_that_waits_in_vain_is_broken_off():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        until = deadline(600.0)
        stream = CheckedBackend(Networks(["127.0.0.0/8"]), until).connect_tcp(
            "127.0.0.1", silent.getsockname()[1]
        )
        failed = []

        def read():
            try:
                stream.read(1)
            except httpcore2.ReadTimeout as error:
                failed.append(str(error))

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        until.stop()
        reader.join(60)
        stream.close()
    assert failed == ["nobody waits for this request any more"]
