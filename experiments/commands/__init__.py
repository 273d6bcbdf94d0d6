"""The subcommands of `isograd`, one file each."""
