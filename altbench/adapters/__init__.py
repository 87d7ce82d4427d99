"""Adapters: a policy of other conventions, played in ours."""
