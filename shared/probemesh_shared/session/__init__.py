"""The session between an agent and whoever sends it jobs: a state machine without I/O, clock or grpc."""
