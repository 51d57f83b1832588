"""The login daemon: listener, session, policy, throttle and verifier."""
