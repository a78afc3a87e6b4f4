"""What goes over Socket.IO is plain JSON, as any other library writes and reads it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from socketio.packet import ACK, EVENT, Packet

from server.packets import PlainJson, PlainPackets

# Half a surrogate pair can come from a client, but stands in no reply.
texts = st.text(max_size=20)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=10,
)


@given(values)
def test_a_packet_is_the_librarys_own(value: Any) -> None:
    """So that every client reads it, and what any client writes is read."""
    ours = PlainPackets(ACK, [value], id=7).encode()
    theirs = Packet(ACK, [value], id=7).encode()
    assert json.loads(ours[2:]) == json.loads(theirs[2:]) == [value]
    assert PlainPackets(encoded_packet=theirs).data == [value]
    assert Packet(encoded_packet=ours).data == [value]
    assert Packet.json is not PlainJson  # clients of the same process keep theirs


@given(st.text(st.characters(exclude_categories=()), max_size=20))
def test_half_a_surrogate_pair_is_read_to_be_refused(text: str) -> None:
    assert PlainJson.loads(json.dumps(text)) == text


@pytest.mark.parametrize("damaged", ["", "{", "[1,]", "nul", "1" * 5000])
def test_what_is_no_json_is_an_error(damaged: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        PlainJson.loads(damaged)


def test_what_a_client_attaches_is_dropped_as_it_comes() -> None:
    """Else it would be kept until the last of as many as the client says."""
    announced = PlainPackets(encoded_packet='5999999999-7["hello",{"token":"x"}]')
    assert announced.packet_type == EVENT
    assert announced.id == 7
    assert announced.data == ["hello", {"token": "x"}]
    attached = PlainPackets(encoded_packet=b"\0" * 100)
    assert (attached.packet_type, attached.data) == (ACK, [])
    assert announced.attachment_count == attached.attachment_count == 0
