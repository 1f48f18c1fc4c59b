"""The Parquet files of COYO, a batch of rows at a time."""

import contextlib
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq
import tqdm

from tf_multimodal.data import files

BATCH_ROWS = 65_536


class Tables:
    """Parquet files with the same columns, read in the order of their names.

    Args:
        pattern: local or of a URL, e.g. `coyo-700m/data/*.parquet`.
        columns: those that the files must have.

    Raises:
        OSError: there is no such file.
        ValueError: a file is no Parquet file or lacks a column.
    """

    def __init__(self, pattern: str, columns: Sequence[str]) -> None:
        self._paths = files.list_files(pattern)
        self.num_rows = 0
        for path in self._paths:
            with _open_table(path) as table:
                schema = table.schema_arrow
                self.num_rows += table.metadata.num_rows
            missing = [name for name in columns if name not in schema.names]
            if missing:
                raise ValueError(
                    f"{path} has no column {', '.join(missing)}. Its columns: "
                    f"{', '.join(schema.names)}."
                )
            if path == self._paths[0]:
                self.schema = schema

    def read_batches(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yields all rows with these columns.

        Raises:
            ValueError: a file is damaged, or lacks a column that the first one has.
        """
        names = list(dict.fromkeys(columns))
        types = pa.schema([self.schema.field(name) for name in names])
        with tqdm.tqdm(total=self.num_rows, unit=" rows", unit_scale=True) as progress:
            for path in self._paths:
                progress.set_description(path.rpartition("/")[2])
                with _open_table(path) as table:
                    try:
                        for batch in table.iter_batches(BATCH_ROWS, columns=names):
                            rows = pa.Table.from_batches([batch])
                            yield rows.select(names).cast(types)
                            progress.update(len(batch))
                    except (pa.ArrowException, KeyError, OSError) as error:
                        raise ValueError(
                            f"{path} cannot be read like the files before it: {error}. "
                            "Fetch it again."
                        ) from error


@contextlib.contextmanager
def _open_table(path: str) -> Iterator[pq.ParquetFile]:
    with files.open_file(path) as file:
        try:
            table = pq.ParquetFile(file)
        except pa.ArrowException as error:
            raise ValueError(f"{path} is no Parquet file: {error}") from error
        yield table
