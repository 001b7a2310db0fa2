"""The machine: cores, devices, precision."""
