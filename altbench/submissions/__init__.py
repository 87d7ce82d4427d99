"""Submissions: archives of a policy's records, their verification, the leaderboard, the certificate."""
