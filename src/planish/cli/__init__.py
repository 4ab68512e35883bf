"""The command line: arguments, settings and files on the way in, terminal output on the way out."""
