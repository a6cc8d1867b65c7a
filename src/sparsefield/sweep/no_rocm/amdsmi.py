"""Found in place of amdsmi by processes of Ray where there is no ROCm; see sweep/cluster.py."""

if __name__ == "amdsmi":
    raise ImportError("there is no ROCm on this machine, and so no AMD GPU to ask for")
