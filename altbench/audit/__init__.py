"""Does a policy generate actions or recall them: the audit of one checkpoint against its demonstrations."""
