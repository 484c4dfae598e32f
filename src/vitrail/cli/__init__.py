"""The command line. Each sub-command is a module that imports what it needs only when it runs."""
