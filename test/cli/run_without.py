"""Run entry points without some packages: `run_without.py MODULES ROUNDS`, a list of modules and JSON [[entry, argv]].

Prints JSON [[status, stdout, stderr]]. Importers do not find the modules, as if they were not installed.
"""

import importlib
import io
import json
import sys
import traceback
from contextlib import redirect_stderr, redirect_stdout
from importlib.machinery import PathFinder

without = set(sys.argv[1].split(","))
find_spec = PathFinder.find_spec


def find_others(name, path=None, target=None):
    return None if name.partition(".")[0] in without else find_spec(name, path, target)


PathFinder.find_spec = find_others
results = []
for entry, argv in json.loads(sys.argv[2]):
    module, function = entry.split(":")
    sys.argv = [function, *argv]
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:  # as the script that pip writes for an entry point
            status = getattr(importlib.import_module(module), function)()
        except SystemExit as end:
            status = end.code
        except BaseException:
            traceback.print_exc()
            status = 1
    results.append([status or 0, out.getvalue(), err.getvalue()])
sys.stdout.write("\n" + json.dumps(results))
