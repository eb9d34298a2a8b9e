"""Runs commands in one process, each with a fault of its own (preload.c, which has to be loaded):
the arguments are a folder and a JSON array of [fault, arguments of squeezenet-c]. Prints a JSON
array of [status, stderr]."""

import ctypes
import io
import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout

from squeezenet_c.cli import main

preloaded = ctypes.CDLL(None)
folder = os.path.realpath(sys.argv[1]).encode()
found = []
for fault, arguments in json.loads(sys.argv[2]):
    text = fault.encode()  # kept while it is used
    said = io.StringIO()
    preloaded.sqz_fault_set(folder, text)
    with redirect_stderr(said), redirect_stdout(io.StringIO()):
        status = main(arguments)
    preloaded.sqz_fault_set(None, None)
    found.append([status, said.getvalue()])
print(json.dumps(found))
