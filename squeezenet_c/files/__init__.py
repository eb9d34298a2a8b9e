"""Models as files, ours and other programs'."""
