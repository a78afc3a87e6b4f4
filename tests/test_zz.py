import pytest
from test_server import *
@pytest.mark.parametrize("n", range(12))
def test_again(n, server, desk, journal, client):
    test_bad_events_are_refused_over_socket_io_and_the_study_goes_on(server, desk, journal, client)
