"""The methods, one file each: settings, feed and objective. Read the file and you have read the method."""
