"""What the lookup policies share: keys in an index, what followed each frame, and the out-of-distribution flag."""
