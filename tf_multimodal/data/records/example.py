"""A row as a `tf.train.Example`, and the records of a TFRecord file.

A record is its length, uint64, a CRC-32C of that, the data, and a CRC-32C of the data,
all little-endian: https://www.tensorflow.org/tutorials/load_data/tfrecord
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any, NamedTuple

_HEAD = struct.Struct("<QI")  # length, and its checksum
_TAIL_SIZE = 4  # bytes, the data's checksum


class Record(NamedTuple):
    """The data of one record."""

    offset: int  # bytes from the start of the file
    data: bytes


def make_example(features: Mapping[str, Sequence[Any]]) -> bytes:
    """Returns a serialized `tf.train.Example`; equal features give equal bytes.

    Args:
        features: by name, a list of str (stored as UTF-8) or bytes, of float (stored
            as float32) or of int. An empty list is a feature without a value.
    """
    import tensorflow as tf

    example = tf.train.Example()
    for name, values in features.items():
        feature = example.features.feature[name]
        if all(isinstance(value, int) for value in values):
            feature.int64_list.value.extend(values)
        elif all(isinstance(value, float) for value in values):
            feature.float_list.value.extend(values)
        else:
            feature.bytes_list.value.extend(map(_encode, values))
    return example.SerializeToString(deterministic=True)


def _encode(value: str | bytes) -> bytes:
    # The name of a file need not be UTF-8.
    return value.encode(errors="surrogateescape") if isinstance(value, str) else value


def parse_example(data: bytes) -> dict[str, list[Any]]:
    """Returns the values of each feature; texts are bytes.

    Raises:
        ValueError: the bytes are no `tf.train.Example`.
    """
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    try:
        example = tf.train.Example.FromString(data)
    except DecodeError as error:
        raise ValueError(f"no tf.train.Example: {error}") from error
    return {
        name: list(getattr(feature, kind).value)
        if (kind := feature.WhichOneof("kind"))
        else []
        for name, feature in example.features.feature.items()
    }


def read_records(file: IO[bytes], path: str) -> Iterator[Record]:
    """Yields the records of a TFRecord file without compression, one at a time.

    Checksums are not looked at.

    Args:
        file: open for reading, at its start.
        path: for messages.

    Raises:
        ValueError: the file ends inside a record.
    """
    offset = 0
    while head := file.read(_HEAD.size):
        length = _HEAD.unpack(head)[0] if len(head) == _HEAD.size else 0
        # A damaged length must not ask for more memory than the file is large.
        data = b"".join(_read_pieces(file, length + _TAIL_SIZE))
        if len(head) < _HEAD.size or len(data) < length + _TAIL_SIZE:
            raise ValueError(
                f"{path} ends inside the record at byte {offset:,}: it was cut off, or "
                "a length in it is damaged. Write it again with python -m "
                "tf_multimodal.data.records; the shards that are whole are kept."
            )
        yield Record(offset + _HEAD.size, data[:length])
        offset += _HEAD.size + len(data)


def _read_pieces(file: IO[bytes], length: int) -> Iterator[bytes]:
    while length > 0 and (piece := file.read(min(length, 1 << 24))):
        yield piece
        length -= len(piece)
