"""Where submissions are worked on: local.py is this machine, ray.py the nodes of a Ray cluster.

Both give places to dispatch.py, which hands the pieces of work out; whoever asks knows a `Scheduler` and no more.
"""
