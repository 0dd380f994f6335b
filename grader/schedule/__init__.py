"""Where submissions are worked on: dispatch.py has this machine, ray.py the nodes of a Ray cluster.

Both give seats to `run_at`, which hands the tasks out; whoever asks knows a `Scheduler` and no more.
"""
