"""What arenactl reads and changes of the host itself: PAM's files, sshd, units, the clock."""
