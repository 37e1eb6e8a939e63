"""The command line ``meshctl``: parse, one library call, a renderer, an exit code."""
