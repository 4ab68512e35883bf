"""Statistics without torch: win rates, rankings, calibration and their intervals."""
