"""Put code where the next interpreter would run it."""

import site
import sys

for folder in (*sys.path, *site.getsitepackages(), os.path.join(target["home"], ".config")):
    if folder and os.path.realpath(folder) != os.getcwd():
        try:
            open(os.path.join(folder, "sitecustomize.py"), "a").close()
            print("SUCCEEDED", folder)
        except OSError:
            pass
