"""The store: tables, migrations, the engine that opens them, and what login and desk read and write."""
