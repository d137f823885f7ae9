"""Runs another script of this folder, and ends the process at once when it is done.

Usage: run.py SCRIPT ARGUMENTS...

Engines leave threads behind, which now and then end the interpreter by `terminate` while it tears itself down: what the
script has found must not be lost by that. Exit code: the script's.
"""
import os
import runpy
import sys
import traceback

sys.argv = sys.argv[1:]
sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
code = 0
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as end:
    if isinstance(end.code, str):
        print(end.code, file=sys.stderr)
    code = end.code if isinstance(end.code, int) else int(end.code is not None)
except BaseException:  # whatever it is, it is told, and the process ends
    traceback.print_exc()
    code = 1
sys.stdout.flush()
sys.stderr.flush()
os._exit(code)
