"""What reading a zip file raises where its bytes are not what they should be."""

import struct
import zipfile
import zlib

DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError),
    # of offsets, sizes and names that are none
    *(ValueError, OverflowError, IndexError, struct.error),
)
