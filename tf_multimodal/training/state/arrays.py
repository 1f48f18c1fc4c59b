"""Arrays in NumPy's format, those of bfloat16 too."""

import pathlib
from typing import Any

import ml_dtypes
import numpy as np

# NumPy's format does not know them; they are stored as integers of their size.
DTYPES = {"bfloat16": ml_dtypes.bfloat16}


def write_arrays(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> dict[str, str]:
    """Writes arrays, and returns the types of those that NumPy has no name for."""
    dtypes = {k: str(v.dtype) for k, v in arrays.items() if str(v.dtype) in DTYPES}
    stored: dict[str, Any] = {
        k: v.view(f"u{v.dtype.itemsize}") if k in dtypes else v
        for k, v in arrays.items()
    }
    with path.open("wb") as file:
        np.savez(file, **stored)
    return dtypes


def read_arrays(path: pathlib.Path, dtypes: dict[str, str]) -> dict[str, np.ndarray]:
    """Reads what `write_arrays` wrote, in its order.

    Args:
        path: of the file.
        dtypes: as `write_arrays` returned them.
    """
    with np.load(path, allow_pickle=False) as stored:
        return {
            name: stored[name].view(DTYPES[dtypes[name]])
            if name in dtypes
            else stored[name]
            for name in stored.files
        }
