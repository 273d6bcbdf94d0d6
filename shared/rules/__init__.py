"""Tables of rules in TOML, and how they are read."""
