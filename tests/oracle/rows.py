"""Reads tables of a lake by every reader and prints their row counts as JSON.

Usage: rows.py LAKE TABLE...
Exit code 1, and one line for each difference, if two readers do not give the same rows.
"""
import json
import sys

from tables import Lake

lake = Lake(sys.argv[1])
print(json.dumps({name: lake.load(name).num_rows for name in sys.argv[2:]}))
lake.finish()
