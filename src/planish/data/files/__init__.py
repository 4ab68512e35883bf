"""From a path to raw records: every kind of file, folder, package and hub dataset."""
