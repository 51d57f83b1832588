"""arenad: the daemons behind auth.sock and desk.sock. Installed as `arenad`, private to the package of that name."""
