"""Files: read with their sizes compared before anything is allocated, written whole or not at all."""

from .extras import require
from .pictures import PICTURE_SUFFIXES, fitted, opened_picture, pictures_in, read_picture
from .reading import read_json, read_npy, read_text, unreadable
from .tensors import Shapes, Tensors, check_same, open_tensors, shapes_of_module, write_tensors
from .writing import (
    check_folder,
    check_target,
    clear_partials,
    replacing,
    replacing_files,
    replacing_folder,
    write_bytes,
    write_rows,
    write_text,
)

__all__ = [
    "PICTURE_SUFFIXES",
    "Shapes",
    "Tensors",
    "check_folder",
    "check_same",
    "check_target",
    "clear_partials",
    "fitted",
    "open_tensors",
    "opened_picture",
    "pictures_in",
    "read_json",
    "read_npy",
    "read_picture",
    "read_text",
    "replacing",
    "replacing_files",
    "replacing_folder",
    "require",
    "shapes_of_module",
    "unreadable",
    "write_bytes",
    "write_rows",
    "write_tensors",
    "write_text",
]
