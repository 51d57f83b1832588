"""The commands of the sysadmin, the desk and the holder."""
