"""The command line: one file a verb, each imported when its verb is used."""
