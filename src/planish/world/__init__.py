"""The wind tunnel: a small world in which every fact, request and preference is known, so that claims can be tested."""
