"""The controller and the command line: fleet, dispatch, diagnosis, store, presentation."""
