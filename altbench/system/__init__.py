"""This machine: files written whole, worker processes, devices, the fingerprint, the doctor."""
