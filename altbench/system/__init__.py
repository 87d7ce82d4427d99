"""This machine: files, worker processes, devices, its fingerprint, and the doctor."""
