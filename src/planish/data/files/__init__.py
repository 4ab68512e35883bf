"""Files: raw records from a path, whatever the kind of file, folder, package or hub dataset."""
