"""gRPC as it really behaves: one way to dial, one way to listen, one table of who may call what."""
