"""The folder that the build puts pam_arena.so into."""
