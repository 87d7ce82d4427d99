"""The audit of one checkpoint: is its motion nearer to demonstrations than an expert's?"""
