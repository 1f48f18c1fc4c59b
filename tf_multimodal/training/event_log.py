"""TensorBoard's event files of a run: a point an interval, pictures, cut on resuming.

Tags and folders are those of Keras's TensorBoard callback. That one writes its
events now and then; here they are on the disk before the state is that counts them.
"""

import pathlib
from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow as tf
from tensorflow.core.util import event_pb2

from tf_multimodal.data.atomic_file import write_atomically

VALIDATION = "val_"
PARTS = ("train", "validation")


class EventLog:
    """Writes scalars and pictures for TensorBoard.

    Args:
        folder: that TensorBoard is pointed at; `train` and `validation` are in it.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._writers: dict[str, tf.summary.SummaryWriter] = {}

    def write(
        self,
        epoch: int,
        values: Mapping[str, float],
        pictures: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Writes the values of an interval, those of validation beside the others.

        Args:
            epoch: number of the interval, from 0.
            values: by name; `val_` begins those of validation.
            pictures: of validation, uint8 [h, w, 3] by name.
        """
        for name, value in values.items():
            with self._get_writer(name.startswith(VALIDATION)).as_default():
                tag = f"epoch_{name.removeprefix(VALIDATION)}"
                tf.summary.scalar(tag, value, step=epoch)
        for name, pixels in (pictures or {}).items():
            with self._get_writer(True).as_default():
                tf.summary.image(name, pixels[np.newaxis], step=epoch)
        for writer in self._writers.values():
            writer.flush()

    def _get_writer(self, of_validation: bool) -> tf.summary.SummaryWriter:
        part = PARTS[of_validation]
        if part not in self._writers:
            path = str(self._folder / part)
            self._writers[part] = tf.summary.create_file_writer(path)
        return self._writers[part]

    def close(self) -> None:
        """Closes the files; more values go into new ones."""
        for writer in self._writers.values():
            writer.close()
        self._writers = {}


def cut_events(folder: pathlib.Path, first_epoch: int) -> None:
    """Removes the events of intervals that a resumed run does again.

    Args:
        folder: of the event files, `train` and `validation` within it.
        first_epoch: the first interval to remove, from 0.
    """
    for part in PARTS:
        for path in sorted((folder / part).glob("events.out.tfevents.*")):
            records = list(_read_records(path))
            kept = [record for record in records if _is_before(record, first_epoch)]
            size = sum(len(record) + 16 for record in kept)  # length, two checksums
            if size == path.stat().st_size:
                continue
            with write_atomically(path) as partial:
                with tf.io.TFRecordWriter(str(partial)) as writer:
                    for record in kept:
                        writer.write(record)


def _read_records(path: pathlib.Path) -> Iterator[bytes]:
    """Yields the whole records; what a kill left torn at the end is none."""
    try:
        for record in tf.data.TFRecordDataset(str(path)):
            yield record.numpy()
    except tf.errors.DataLossError:
        return


def _is_before(record: bytes, first_epoch: int) -> bool:
    event = event_pb2.Event.FromString(record)
    return bool(event.file_version) or event.step < first_epoch
