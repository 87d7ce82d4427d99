"""The parts of the policies that look something up.

Keys in an index, what followed each frame, thumbnails and raw images, and the
out-of-distribution flag.
"""
